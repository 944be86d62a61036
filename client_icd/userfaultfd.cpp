// SPDX-License-Identifier: Apache-2.0
#include "client_icd/userfaultfd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace vesper::client {
namespace {

using transport::UniqueFd;

constexpr int kUserModeOnly = 1;
/// _IO('\xAA', 0): asks /dev/userfaultfd (Linux 6.1) for one.
constexpr unsigned long kNewUserfaultfd = _IO(0xAA, 0x00);

// By the system call, which container engines forbid and kernels leave to the privileged, or by the
// device, which an administrator can hand out.
UniqueFd Open(FaultsOf of) {
  const int flags = O_CLOEXEC | O_NONBLOCK | (of == FaultsOf::kProgram ? kUserModeOnly : 0);
  UniqueFd faults(static_cast<int>(::syscall(SYS_userfaultfd, flags)));
  if (!faults) {
    const int refusal = errno;
    const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
    if (device) {
      faults.Reset(::ioctl(device.get(), kNewUserfaultfd, flags));
    }
    if (!faults) {
      errno = refusal;
    }
  }
  return faults;
}

}  // namespace

UniqueFd OpenUserfaultfd(FaultsOf of, uint64_t features, const char* needs, std::string* why) {
  UniqueFd faults = Open(of);
  if (!faults) {
    *why = (of == FaultsOf::kProgram ? "userfaultfd: " : "userfaultfd for system calls: ") +
           std::system_category().message(errno);
    return faults;
  }
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = features;
  if (::ioctl(faults.get(), UFFDIO_API, &api) != 0) {
    *why = needs;
    faults.Reset(-1);
  }
  return faults;
}

}  // namespace vesper::client
