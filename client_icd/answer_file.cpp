// SPDX-License-Identifier: Apache-2.0
#include "client_icd/answer_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <set>
#include <string_view>
#include <utility>

#include "proto/buffer.h"
#include "transport/shared_file.h"

namespace vesper::client {
namespace {

constexpr uint64_t kMagic = 0x7265'7773'6e61'7076;  // "vpanswer"
constexpr uint32_t kVersion = 1;
constexpr std::string_view kPrefix = "answers-";
constexpr std::string_view kTemporaryPrefix = "new-";
/// A temporary file this old was left by a process that was killed.
constexpr std::chrono::hours kStale{24};

struct FileHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t count;
  proto::Hash128 identity;
  uint64_t bytes;     // that follow
  uint64_t checksum;  // of those
};

struct EntryHeader {
  proto::Hash128 key;
  uint64_t bytes;  // a multiple of 8
  uint64_t checksum;
};

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool IsOpen() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

bool WriteAll(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

/// The file's bytes if it is one of this user's and not too large.
std::vector<std::byte> ReadOwn(const std::string& path) {
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status{};
  if (!file.IsOpen() || ::fstat(file.descriptor(), &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_uid != ::geteuid() || static_cast<uint64_t>(status.st_size) > kMaxAnswerFileBytes) {
    return {};
  }
  std::vector<std::byte> bytes(static_cast<size_t>(status.st_size));
  size_t received = 0;
  while (received < bytes.size()) {
    const ssize_t count =
        ::read(file.descriptor(), bytes.data() + received, bytes.size() - received);
    if (count <= 0) {
      return {};
    }
    received += static_cast<size_t>(count);
  }
  ::futimens(file.descriptor(), nullptr);
  return bytes;
}

/// Files that were not used for long give way to others, for drivers and programs come and go.
void RemoveOldest(const std::string& folder) {
  namespace fs = std::filesystem;
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;
    const fs::file_time_type time = entry->last_write_time(gone);
    const std::string name = entry->path().filename().string();
    if (!gone && name.starts_with(kPrefix)) {
      files.emplace_back(time, entry->path());
    } else if (!gone && name.starts_with(kTemporaryPrefix) &&
               fs::file_time_type::clock::now() - time > kStale) {
      fs::remove(entry->path(), gone);
    }
  }
  if (files.size() <= kMaxAnswerFiles) {
    return;
  }
  std::ranges::sort(files);
  files.resize(files.size() - kMaxAnswerFiles);
  for (const auto& [time, path] : files) {
    fs::remove(path, error);
  }
}

}  // namespace

std::vector<std::byte> EncodeAnswers(const proto::Hash128& identity,
                                     const std::vector<Answer>& answers) {
  std::vector<std::byte> bytes(sizeof(FileHeader));
  const auto put = [&bytes](const void* data, size_t size) {
    const auto* first = static_cast<const std::byte*>(data);
    bytes.insert(bytes.end(), first, first + size);
  };
  uint32_t count = 0;
  for (const Answer& answer : answers) {
    const std::vector<std::byte>& reply = *answer.reply;
    const size_t size = proto::Align8(reply.size());
    if (size != reply.size() || size > kMaxAnswerBytes ||
        bytes.size() + sizeof(EntryHeader) + size > kMaxAnswerFileBytes) {
      continue;
    }
    const EntryHeader header{answer.key, size, proto::ChecksumOf(reply, answer.key.low)};
    put(&header, sizeof(header));
    put(reply.data(), size);
    ++count;
  }
  const std::span<const std::byte> entries = std::span(bytes).subspan(sizeof(FileHeader));
  const FileHeader header{
      kMagic, kVersion, count, identity, entries.size(), proto::ChecksumOf(entries, identity.low),
  };
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

std::optional<std::vector<Answer>> DecodeAnswers(const proto::Hash128& identity,
                                                 std::span<const std::byte> bytes) {
  FileHeader header{};
  if (bytes.size() < sizeof(header) || bytes.size() > kMaxAnswerFileBytes) {
    return std::nullopt;
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  bytes = bytes.subspan(sizeof(header));
  if (header.magic != kMagic || header.version != kVersion || header.identity != identity ||
      header.bytes != bytes.size() || header.checksum != proto::ChecksumOf(bytes, identity.low)) {
    return std::nullopt;
  }
  std::vector<Answer> answers;
  for (uint32_t i = 0; i < header.count; ++i) {
    EntryHeader entry{};
    if (bytes.size() < sizeof(entry)) {
      return std::nullopt;
    }
    std::memcpy(&entry, bytes.data(), sizeof(entry));
    bytes = bytes.subspan(sizeof(entry));
    if (entry.bytes > bytes.size() || entry.bytes > kMaxAnswerBytes || entry.bytes % 8 != 0) {
      return std::nullopt;
    }
    const std::span<const std::byte> reply = bytes.first(entry.bytes);
    bytes = bytes.subspan(entry.bytes);
    if (entry.checksum != proto::ChecksumOf(reply, entry.key.low)) {
      return std::nullopt;
    }
    answers.push_back(
        {entry.key, std::make_shared<const std::vector<std::byte>>(reply.begin(), reply.end())});
  }
  if (!bytes.empty()) {
    return std::nullopt;
  }
  return answers;
}

std::string AnswerFilePath(const std::string& folder, const proto::Hash128& identity) {
  char name[40];
  std::snprintf(name, sizeof(name), "%016llx%016llx",
                static_cast<unsigned long long>(identity.high),
                static_cast<unsigned long long>(identity.low));
  return folder + "/" + std::string(kPrefix) + name;
}

std::vector<Answer> LoadAnswers(const std::string& folder, const proto::Hash128& identity) {
  return DecodeAnswers(identity, ReadOwn(AnswerFilePath(folder, identity)))
      .value_or(std::vector<Answer>());
}

bool SaveAnswers(const std::string& folder, const proto::Hash128& identity,
                 std::vector<Answer> answers) {
  std::error_code error;
  if (std::filesystem::create_directories(folder, error)) {
    ::chmod(folder.c_str(), 0700);
  }
  std::set<proto::Hash128> keys;
  for (const Answer& answer : answers) {
    keys.insert(answer.key);
  }
  for (Answer& answer : LoadAnswers(folder, identity)) {
    if (keys.insert(answer.key).second) {
      answers.push_back(std::move(answer));
    }
  }
  const std::vector<std::byte> bytes = EncodeAnswers(identity, answers);
  if (!transport::MayHaveFileOf(bytes.size())) {
    return false;
  }
  const std::string path = AnswerFilePath(folder, identity);
  std::string temporary = folder + "/" + std::string(kTemporaryPrefix) + "XXXXXX";
  const File file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file.IsOpen()) {
    return false;
  }
  if (!WriteAll(file.descriptor(), bytes) || ::rename(temporary.c_str(), path.c_str()) != 0) {
    ::unlink(temporary.c_str());
    return false;
  }
  RemoveOldest(folder);
  return true;
}

}  // namespace vesper::client
