// SPDX-License-Identifier: Apache-2.0
#include "server/file_archive.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "proto/buffer.h"

namespace vesper::server {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMagic = 0x6b6e'7568'6373'7076;  // "vpschunk"
constexpr uint64_t kVersion = 1;
constexpr std::string_view kSuffix = ".chunks";
/// Whether there is too much is looked at after so many bytes.
constexpr uint64_t kLookBytes = 16u << 20;

struct FileHeader {
  uint64_t magic;
  uint64_t version;
};

struct RecordHeader {
  proto::Hash128 hash;
  uint32_t bytes;
  uint32_t zero;
  uint64_t checksum;
};

std::string Hexadecimal(const proto::Hash128& hash) {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx",
                static_cast<unsigned long long>(hash.low),
                static_cast<unsigned long long>(hash.high));
  return text.data();
}

bool ReadAt(int fd, uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t count = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return false;
    }
    out = out.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return true;
}

template <typename T>
bool ReadValue(int fd, uint64_t offset, T* value) {
  return ReadAt(fd, offset, std::as_writable_bytes(std::span(value, 1)));
}

struct Found {
  fs::file_time_type time;
  fs::path path;
  uint64_t bytes;
};

/// Adds the files in a tenant's folder.
void List(const fs::path& tenant, std::vector<Found>* found) {
  std::error_code error;
  for (fs::directory_iterator entry(tenant, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!entry->path().string().ends_with(kSuffix)) {
      continue;
    }
    std::error_code gone;  // other sessions remove files, too
    const fs::file_time_type time = entry->last_write_time(gone);
    const uint64_t bytes = gone ? 0 : entry->file_size(gone);
    if (!gone) {
      found->push_back({time, entry->path(), bytes});
    }
  }
}

/// The youngest first.
void Sort(std::vector<Found>* found) {
  std::ranges::sort(*found, [](const Found& a, const Found& b) { return a.time > b.time; });
}

bool MakeFolder(const std::string& path) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  return ::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST;
}

}  // namespace

void ReadArchiveFile(
    int fd,
    const std::function<void(const proto::Hash128& hash, uint64_t offset, uint32_t bytes)>& found) {
  FileHeader header{};
  if (!ReadValue(fd, 0, &header) || header.magic != kMagic || header.version != kVersion) {
    return;
  }
  std::vector<std::byte> chunk;
  uint64_t at = sizeof(header);
  RecordHeader record{};
  while (ReadValue(fd, at, &record) && record.bytes != 0 && record.bytes <= proto::kMaxChunkBytes &&
         record.zero == 0) {
    at += sizeof(record);
    chunk.resize(record.bytes);
    if (!ReadAt(fd, at, chunk)) {
      return;  // its session was killed in the middle, or writes it right now
    }
    if (proto::ChecksumOf(chunk, record.hash.low) == record.checksum) {
      found(record.hash, at, record.bytes);
    }
    at += proto::Align8(record.bytes);
  }
}

std::unique_ptr<FileArchive> FileArchive::Open(const std::string& folder, const proto::HashKey& key,
                                               uint64_t limit, std::string* error) {
  struct stat status{};
  if (!MakeFolder(folder) || ::stat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) ||
      ::access(folder.c_str(), R_OK | W_OK | X_OK) != 0) {
    *error = "expected a folder for uploads that may be written to, got '" + folder + "' (" +
             std::generic_category().message(errno) + "); see --upload-archive";
    return nullptr;
  }
  if (status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
    *error = "expected a folder for uploads that nobody else may enter, got '" + folder +
             "'; give it to this user and chmod 700 it";
    return nullptr;
  }
  auto archive = std::unique_ptr<FileArchive>(new FileArchive(folder, key, limit));
  archive->RemoveOldest();
  return archive;
}

FileArchive::FileArchive(std::string folder, const proto::HashKey& key, uint64_t limit)
    : folder_(std::move(folder)),
      key_(key),
      // The hash of something that everybody knows says nothing of the key.
      tenant_(
          folder_ + "/" +
          Hexadecimal(proto::HashOf(std::as_bytes(std::span(std::string_view("tenant"))), key))),
      limit_(limit) {}

void FileArchive::Load(const Tell& tell) {
  std::vector<Found> found;
  List(tenant_, &found);
  Sort(&found);
  found.resize(std::min(found.size(), kMaxFiles));
  for (const Found& file : found) {
    transport::UniqueFd fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) {
      continue;
    }
    size_t index = 0;
    {
      const std::lock_guard lock(mutex_);
      index = files_.size();
      files_.emplace_back(std::move(fd));
    }
    LoadFile(index, tell);
  }
}

void FileArchive::LoadFile(size_t file, const Tell& tell) {
  int fd = -1;
  {
    const std::lock_guard lock(mutex_);
    fd = files_[file].fd.get();
  }
  std::vector<uint64_t> low;
  std::vector<uint64_t> high;
  const auto tell_all = [&] {
    if (!low.empty()) {
      tell(low, high);
    }
    low.clear();
    high.clear();
  };
  ReadArchiveFile(fd, [&](const proto::Hash128& hash, uint64_t offset, uint32_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      places_.emplace(hash, Place{file, offset, bytes});
    }
    low.push_back(hash.low);
    high.push_back(hash.high);
    if (low.size() == kToldAtOnce) {
      tell_all();
    }
  });
  tell_all();
}

bool FileArchive::Read(const proto::Hash128& hash, std::span<std::byte> out) {
  Place place{};
  int fd = -1;
  {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(hash);
    if (found == places_.end() || found->second.bytes != out.size()) {
      return false;
    }
    place = found->second;
    File& file = files_[place.file];
    fd = file.fd.get();
    if (!file.is_used) {
      file.is_used = true;
      ::futimens(fd, nullptr);  // the oldest go first; no harm if that fails
    }
  }
  RecordHeader record{};
  return ReadValue(fd, place.offset - sizeof(record), &record) && ReadAt(fd, place.offset, out) &&
         proto::ChecksumOf(out, hash.low) == record.checksum;
}

void FileArchive::Keep(const proto::Hash128& hash, std::span<const std::byte> chunk) {
  const std::lock_guard lock(mutex_);
  if (is_full_ || places_.contains(hash) || kept_.contains(hash)) {
    return;
  }
  if (own_bytes_ + chunk.size() > limit_ / 2 || (!own_ && !Begin()) || !Append(hash, chunk)) {
    is_full_ = true;
    return;
  }
  kept_.insert(hash);
  if (own_bytes_ - looked_at_ >= kLookBytes) {
    looked_at_ = own_bytes_;
    RemoveOldest();
  }
}

bool FileArchive::Begin() {
  proto::Hash128 name;
  if (::getrandom(&name, sizeof(name), 0) != sizeof(name)) {
    return false;
  }
  own_path_ = tenant_ + "/" + Hexadecimal(name) + std::string(kSuffix);
  for (int attempt = 0; attempt < 2 && !own_; ++attempt) {
    // Another session may remove the folder while it is empty.
    if (!MakeFolder(tenant_)) {
      return false;
    }
    own_ = transport::UniqueFd(
        ::open(own_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  }
  const FileHeader header{kMagic, kVersion};
  if (!own_ || ::write(own_.get(), &header, sizeof(header)) != sizeof(header)) {
    return false;
  }
  own_bytes_ = sizeof(header);
  return true;
}

bool FileArchive::Append(const proto::Hash128& hash, std::span<const std::byte> chunk) {
  RecordHeader record{hash, static_cast<uint32_t>(chunk.size()), 0,
                      proto::ChecksumOf(chunk, hash.low)};
  std::array<std::byte, 8> padding{};
  std::array<iovec, 3> parts{{{&record, sizeof(record)},
                              {const_cast<std::byte*>(chunk.data()), chunk.size()},
                              {padding.data(), proto::Align8(chunk.size()) - chunk.size()}}};
  const size_t bytes = sizeof(record) + proto::Align8(chunk.size());
  const ssize_t written = ::writev(own_.get(), parts.data(), parts.size());
  if (written != static_cast<ssize_t>(bytes)) {
    return false;  // the disk is full; whoever reads stops at what is torn
  }
  own_bytes_ += bytes;
  return true;
}

void FileArchive::RemoveOldest() const {
  std::vector<Found> all;
  std::error_code error;
  for (fs::directory_iterator tenant(folder_, error), end; !error && tenant != end;
       tenant.increment(error)) {
    std::vector<Found> found;
    List(tenant->path(), &found);
    Sort(&found);
    for (size_t i = kMaxFiles; i < found.size(); ++i) {
      std::error_code gone;
      fs::remove(found[i].path, gone);
    }
    found.resize(std::min(found.size(), kMaxFiles));
    all.insert(all.end(), found.begin(), found.end());
  }
  Sort(&all);
  uint64_t bytes = 0;
  for (const Found& file : all) {
    bytes += file.bytes;
    if (bytes > limit_ && file.path != own_path_) {
      std::error_code gone;
      fs::remove(file.path, gone);
      fs::remove(file.path.parent_path(), gone);  // if that was its last
    }
  }
}

}  // namespace vesper::server
