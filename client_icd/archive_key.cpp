// SPDX-License-Identifier: Apache-2.0
#include "client_icd/archive_key.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "transport/shared_file.h"
#include "transport/unique_fd.h"

namespace vesper::client {
namespace {

/// Nothing, with errno, if there is no key; 0 if what is there is none.
std::optional<proto::HashKey> ReadFile(const std::string& path) {
  const transport::UniqueFd file(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) {
    return std::nullopt;
  }
  struct stat status{};
  proto::HashKey key;
  const bool is_good =
      ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode) &&
      status.st_uid == ::geteuid() && (status.st_mode & 077) == 0 &&
      status.st_size == static_cast<off_t>(key.size()) &&
      ::read(file.get(), key.data(), key.size()) == static_cast<ssize_t>(key.size());
  errno = 0;
  return is_good ? std::optional(key) : std::nullopt;
}

}  // namespace

std::optional<proto::HashKey> ReadArchiveKey(const std::string& folder) {
  if (folder.empty()) {
    return std::nullopt;
  }
  const std::string path = folder + "/upload-key";
  if (const auto key = ReadFile(path); key || errno != ENOENT) {
    return key;
  }
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  proto::HashKey key;
  if (::getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
    return std::nullopt;
  }
  // It appears whole, and if somebody else was faster, theirs stays.
  std::string temporary = folder + "/new-XXXXXX";
  const transport::UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));  // with mode 0600
  if (!file) {
    return std::nullopt;
  }
  const bool is_written =
      transport::MayHaveFileOf(key.size()) &&
      ::write(file.get(), key.data(), key.size()) == static_cast<ssize_t>(key.size());
  if (is_written) {
    [[maybe_unused]] const int linked = ::link(temporary.c_str(), path.c_str());
  }
  ::unlink(temporary.c_str());
  return ReadFile(path);
}

}  // namespace vesper::client
