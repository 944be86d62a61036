// SPDX-License-Identifier: Apache-2.0
#include "transport/shared_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace vesper::transport {
namespace {

std::string Because(const char* call) {
  return std::string(call) + " failed: " + std::system_category().message(errno);
}

}  // namespace

bool MayHaveFileOf(uint64_t bytes) {
  rlimit limit{};
  return ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= bytes;
}

bool IsSafeToMap(int file, std::string* why_not) {
  const int seals = ::fcntl(file, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    *why_not = "the guest's file is not sealed against becoming smaller";
    return false;
  }
  struct statfs system{};
  if (::fstatfs(file, &system) != 0 || system.f_type != TMPFS_MAGIC) {
    *why_not = "the guest's file is not one of ordinary pages in memory";
    return false;
  }
  return true;
}

std::unique_ptr<SharedFileMapping> SharedFileMapping::Create(const char* name, size_t size,
                                                             std::string* why_not) {
  if (!MayHaveFileOf(size)) {
    *why_not = "files of this process may not become so large (RLIMIT_FSIZE)";
    return nullptr;
  }
  UniqueFd file(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) {
    *why_not = Because("memfd_create");
    return nullptr;
  }
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
    *why_not = Because("ftruncate");
    return nullptr;
  }
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    *why_not = Because("sealing a file in memory");
    return nullptr;
  }
  return Map(std::move(file), size, why_not);
}

std::unique_ptr<SharedFileMapping> SharedFileMapping::Accept(UniqueFd file, size_t size,
                                                             std::string* why_not) {
  if (!file) {
    *why_not = "no file of the guest's came through this connection";
    return nullptr;
  }
  struct stat status{};
  if (!IsSafeToMap(file.get(), why_not)) {
    return nullptr;
  }
  if (::fstat(file.get(), &status) != 0 || static_cast<uint64_t>(status.st_size) != size) {
    *why_not = "the guest's file has another size than the guest says";
    return nullptr;
  }
  return Map(std::move(file), size, why_not);
}

std::unique_ptr<SharedFileMapping> SharedFileMapping::Map(UniqueFd file, size_t size,
                                                          std::string* why_not) {
  void* begin = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (begin == MAP_FAILED) {
    *why_not = Because("mmap");
    return nullptr;
  }
  ::madvise(begin, size, MADV_DONTDUMP);
  return std::unique_ptr<SharedFileMapping>(
      new SharedFileMapping(std::move(file), {static_cast<std::byte*>(begin), size}));
}

SharedFileMapping::~SharedFileMapping() { ::munmap(bytes_.data(), bytes_.size()); }

}  // namespace vesper::transport
