// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_checks.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
// Needs what sys/socket.h declares.
#include <linux/vm_sockets.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <vector>

#include "transport/unique_fd.h"

namespace vesper::cli {
namespace {

constexpr char kPortsFolder[] = "/sys/class/virtio-ports";

// The options with which QEMU has a port; docs/vm.md has those of others.
constexpr char kPortOptions[] =
    "-device virtio-serial-pci -chardev socket,id=v0,path=/run/vesper/vesper.sock,reconnect=1 "
    "-device virtserialport,chardev=v0,name=vesper.0";

// The line that lets a group have ports.
constexpr char kPortRule[] =
    "echo 'SUBSYSTEM==\"virtio-ports\", ATTR{name}==\"vesper.*\", GROUP=\"video\", MODE=\"0660\"' "
    "> "
    "/etc/udev/rules.d/70-vesper.rules; udevadm control --reload; udevadm trigger";

// The names that the machine's ports were given.
std::vector<std::string> PortNames() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& port : std::filesystem::directory_iterator(kPortsFolder, ignored)) {
    std::ifstream file(port.path() / "name");
    std::string name;
    if (std::getline(file, name) && !name.empty()) {
      names.push_back(name);
    }
  }
  return names;
}

// The first path that the pattern stands for.
std::string FirstMatch(const std::string& pattern) {
  glob_t found{};
  std::string first;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0 && found.gl_pathc > 0) {
    first = found.gl_pathv[0];
  }
  ::globfree(&found);
  return first;
}

std::string AdviceOnPort(const std::string& pattern) {
  const std::string path = FirstMatch(pattern);
  if (!path.empty()) {
    return ::access(path.c_str(), R_OK | W_OK) == 0
               ? "on the host, start vesperd --listen unix:PATH with the path of the port's "
                 "chardev, whose user may connect to it"
               : std::string("as root: ") + kPortRule;
  }
  std::error_code ignored;
  if (!std::filesystem::exists(kPortsFolder, ignored)) {
    return "as root: modprobe virtio_console";
  }
  std::string names;
  for (const std::string& name : PortNames()) {
    names += (names.empty() ? "" : ", ") + name;
  }
  if (names.empty()) {
    return std::string("start the virtual machine with a port: ") + kPortOptions;
  }
  return "the ports of this machine are called " + names +
         (std::filesystem::exists("/dev/virtio-ports", ignored)
              ? "; name one of those"
              : "; udev puts them into /dev/virtio-ports, without it they are /dev/vport*");
}

// The context id of this machine, if it has one.
std::optional<unsigned> OwnContextId() {
  const transport::UniqueFd device(::open("/dev/vsock", O_RDONLY | O_CLOEXEC));
  unsigned cid = 0;
  if (!device || ::ioctl(device.get(), IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) != 0 ||
      cid == VMADDR_CID_ANY) {
    return std::nullopt;
  }
  return cid;
}

std::string AdviceOnVsock(const transport::Endpoint& endpoint) {
  std::error_code ignored;
  if (!std::filesystem::exists("/dev/vsock", ignored)) {
    return "as root, in a guest: modprobe vmw_vsock_virtio_transport";
  }
  const std::optional<unsigned> own = OwnContextId();
  if (endpoint.cid == transport::Endpoint::kVsockLocal) {
    return "start vesperd here with --listen " + endpoint.ToString() +
           ", after modprobe vsock_loopback";
  }
  const std::string port = std::to_string(endpoint.port);
  const std::string listen = "on the host, start vesperd --listen vsock:any:" + port;
  if (!own || *own <= transport::Endpoint::kVsockHost) {
    return "if this is a guest, start it with a vsock device: -device vhost-vsock-pci,guest-cid=3, "
           "after modprobe vhost_vsock on the host; then " +
           listen;
  }
  if (endpoint.cid != transport::Endpoint::kVsockHost) {
    return "this machine has the context id " + std::to_string(*own) +
           ", and the host is vsock:host:" + port;
  }
  return listen + "; of Firecracker and cloud-hypervisor, unix:PATH_" + port +
         " with the path of the vsock device";
}

}  // namespace

bool LeadsOutOfAMachine(const transport::Endpoint& endpoint) {
  return endpoint.kind == transport::Endpoint::Kind::kVsock ||
         endpoint.kind == transport::Endpoint::Kind::kSerial;
}

std::string AdviceOnMachine(const transport::Endpoint& endpoint) {
  return endpoint.kind == transport::Endpoint::Kind::kSerial ? AdviceOnPort(endpoint.path)
                                                             : AdviceOnVsock(endpoint);
}

}  // namespace vesper::cli
