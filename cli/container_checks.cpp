// SPDX-License-Identifier: Apache-2.0
#include "cli/container_checks.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "client_icd/environment.h"
#include "transport/unique_fd.h"

namespace vesper::cli {
namespace {

constexpr char kAdviceElsewhere[] =
    "start vesperd on the machine with the GPU, with --listen and an endpoint that reaches here; "
    "see its log for what it thinks of guests";
constexpr mode_t kGroupMayWrite = 0020;

std::string SystemMessage(int code) { return std::system_category().message(code); }

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Who made this container, as far as it says; empty if this is none.
std::string ContainerEngine() {
  if (const std::string name = Variable("container"); !name.empty()) {
    return name;
  }
  if (!Variable("KUBERNETES_SERVICE_HOST").empty()) {
    return "Kubernetes";
  }
  if (::access("/run/.containerenv", F_OK) == 0) {
    return "Podman";
  }
  return ::access("/.dockerenv", F_OK) == 0 ? "Docker" : "";
}

std::string FolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

std::string AdviceOnMissingSocket(const std::string& path) {
  const std::string folder = FolderOf(path);
  if (ContainerEngine().empty()) {
    return "start vesperd here with --listen unix:" + path;
  }
  return "start vesperd outside, and mount its socket's folder into this container: --volume " +
         folder + ":" + folder;
}

std::string AdviceOnForbiddenSocket(const std::string& path, const struct stat& status) {
  const std::string user = "user " + std::to_string(::geteuid()) + " may not write to " + path;
  const std::string group = std::to_string(status.st_gid);
  if ((status.st_mode & kGroupMayWrite) == 0) {
    return user + ": start vesperd with --socket-mode 0660, for its group " + group +
           ", or 0666, for whoever sees the socket";
  }
  return user + ", but its group may: " +
         (ContainerEngine().empty() ? "become a member of the group " + group
                                    : "run this container with --group-add " + group);
}

std::string AdviceOnSocket(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    return errno == EACCES ? "user " + std::to_string(::geteuid()) + " may not enter " +
                                 FolderOf(path) + ": give others the right to (chmod o+x)"
                           : AdviceOnMissingSocket(path);
  }
  if (S_ISDIR(status.st_mode)) {
    return path +
           " is a folder, as engines make one for a socket that is not there when it is mounted: "
           "remove it, and mount the folder of the socket instead";
  }
  if (!S_ISSOCK(status.st_mode)) {
    return path + " is not a socket: name the one that vesperd listens on";
  }
  if (::access(path.c_str(), W_OK) != 0) {
    return AdviceOnForbiddenSocket(path, status);
  }
  return ContainerEngine().empty()
             ? "start vesperd here with --listen unix:" + path + "; if it runs, see its log"
             : "see vesperd's log; if it was started anew, and the socket by itself is mounted "
               "here, "
               "mount its folder instead, which shows the new one";
}

void CheckFilesInMemory(Report& report) {
  const transport::UniqueFd file(::memfd_create("vesper-doctor", MFD_CLOEXEC));
  if (!file) {
    report.Add(Verdict::kWarning,
               "no files in memory (memfd_create: " + SystemMessage(errno) +
                   "): commands and memory pass through the socket, which is slower",
               "allow memfd_create in the seccomp profile, as engines' own do");
  }
}

// As the driver does: the folder is made when it is needed.
void CheckCache(Report& report) {
  const client::Environment environment = client::Environment::Read();
  if (!environment.cache || environment.cache_folder.empty()) {
    const bool is_asked = !environment.cache || !environment.key_folder.empty();
    report.Add(Verdict::kMissing,
               std::string("what servers answer is not remembered on disk: ") +
                   (is_asked ? "VESPER_CACHE asks for it" : "there is no HOME"),
               is_asked ? "" : "set VESPER_CACHE_DIR to a folder that can be written");
    return;
  }
  const std::string& folder = environment.cache_folder;
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (!code && ::access(folder.c_str(), W_OK) != 0) {
    code = std::error_code(errno, std::system_category());
  }
  if (code) {
    report.Add(Verdict::kMissing,
               "what servers answer is not remembered on disk: " + folder + ": " + code.message(),
               "programs ask again each time; a volume mends that: --volume vesper-cache:/cache "
               "--env VESPER_CACHE_DIR=/cache");
  } else {
    report.Add(Verdict::kGood, "what servers answer is remembered in " + folder);
  }
}

void CheckSharedMemoryFolder(Report& report) {
  struct statvfs status{};
  if (::statvfs("/dev/shm", &status) == 0) {
    const uint64_t mebibytes = uint64_t{status.f_blocks} * status.f_frsize >> 20;
    report.Add(Verdict::kGood, "/dev/shm has " + std::to_string(mebibytes) +
                                   " MiB; nothing of Vesper's lies there, so any size will do");
  }
}

}  // namespace

std::string AdviceOnServer(const transport::Endpoint& endpoint) {
  return endpoint.kind == transport::Endpoint::Kind::kUnix ? AdviceOnSocket(endpoint.path)
                                                           : kAdviceElsewhere;
}

void CheckSurroundings(Report& report) {
  const std::string engine = ContainerEngine();
  if (!engine.empty()) {
    report.Add(Verdict::kGood,
               "this is a container (" + engine + "), of user " + std::to_string(::geteuid()));
    CheckSharedMemoryFolder(report);
  }
  CheckFilesInMemory(report);
  CheckCache(report);
}

}  // namespace vesper::cli
