// SPDX-License-Identifier: Apache-2.0
#include "server/file_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "tests/framework/process.h"
#include "tests/framework/random.h"

namespace vesper::server {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using tests::TemporaryFolder;
using Bytes = std::vector<std::byte>;

constexpr uint64_t kLimit = 64u << 20;

Bytes Chunk(uint64_t seed, size_t size = 20'003) {
  Bytes bytes(size);
  tests::Random random(seed);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random.Next());
  }
  return bytes;
}

proto::HashKey Key(uint8_t tenant) {
  proto::HashKey key;
  key.fill(std::byte{tenant});
  return key;
}

class FileArchiveTest : public testing::Test {
 protected:
  std::unique_ptr<FileArchive> Open(uint8_t tenant = 1, uint64_t limit = kLimit) {
    std::string error;
    auto archive = FileArchive::Open(path_, Key(tenant), limit, &error);
    EXPECT_NE(archive, nullptr) << error;
    return archive;
  }
  static proto::Hash128 Name(const FileArchive& archive, const Bytes& chunk) {
    return proto::HashOf(chunk, archive.key());
  }
  // A session that keeps these.
  void Keep(const std::vector<Bytes>& chunks, uint8_t tenant = 1, uint64_t limit = kLimit) {
    const auto archive = Open(tenant, limit);
    archive->Load([](auto, auto) {});
    for (const Bytes& chunk : chunks) {
      archive->Keep(Name(*archive, chunk), chunk);
    }
  }
  // The names that a session is told.
  static std::vector<proto::Hash128> Load(FileArchive& archive) {
    std::vector<proto::Hash128> told;
    archive.Load([&](std::span<const uint64_t> low, std::span<const uint64_t> high) {
      ASSERT_EQ(low.size(), high.size());
      EXPECT_LE(low.size(), FileArchive::kToldAtOnce);
      for (size_t i = 0; i < low.size(); ++i) {
        told.push_back({low[i], high[i]});
      }
    });
    return told;
  }
  static bool Reads(FileArchive& archive, const Bytes& chunk) {
    Bytes out(chunk.size());
    return archive.Read(Name(archive, chunk), out) && out == chunk;
  }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(path_)) {
      if (entry.is_regular_file()) {
        files.push_back(entry.path());
      }
    }
    return files;
  }
  // So that files have an order.
  static void Age(const fs::path& file, int minutes) {
    fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::minutes(minutes));
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.Path("uploads");
};

TEST_F(FileArchiveTest, HasWhatEarlierSessionsKept) {
  const Bytes a = Chunk(1);
  const Bytes b = Chunk(2, proto::kMaxChunkBytes);
  Keep({a, b});
  const auto archive = Open();
  EXPECT_FALSE(Reads(*archive, a)) << "it was not loaded";
  EXPECT_THAT(Load(*archive), UnorderedElementsAre(Name(*archive, a), Name(*archive, b)));
  EXPECT_TRUE(Reads(*archive, a));
  EXPECT_TRUE(Reads(*archive, b));
  EXPECT_FALSE(Reads(*archive, Chunk(3)));
  Bytes shorter(a.size() - 1);
  EXPECT_FALSE(archive->Read(Name(*archive, a), shorter));
}

TEST_F(FileArchiveTest, KeepsEachOnce) {
  Keep({Chunk(1), Chunk(1), Chunk(2)});
  const uint64_t size = fs::file_size(Files()[0]);
  Keep({Chunk(1), Chunk(2)});
  EXPECT_EQ(Files().size(), 1u) << "nothing was new";
  EXPECT_EQ(fs::file_size(Files()[0]), size);
  EXPECT_LT(size, 2 * 20'003 + 200);
  Keep({Chunk(1), Chunk(3)});
  EXPECT_EQ(Files().size(), 2u);
  EXPECT_EQ(Load(*Open()).size(), 3u);
}

TEST_F(FileArchiveTest, TenantsHaveNothingInCommon) {
  const Bytes chunk = Chunk(1);
  Keep({chunk}, 1);
  const auto other = Open(2);
  EXPECT_THAT(Load(*other), IsEmpty());
  EXPECT_FALSE(Reads(*other, chunk));
  Bytes out(chunk.size());
  EXPECT_FALSE(other->Read(Name(*Open(1), chunk), out)) << "even by the other's name";
  Keep({chunk}, 2);
  EXPECT_EQ(Files().size(), 2u) << "each has their own";
}

TEST_F(FileArchiveTest, NobodyElseMayRead) {
  Keep({Chunk(1)});
  struct stat status{};
  for (const fs::path& path : {fs::path(path_), Files()[0].parent_path(), Files()[0]}) {
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077, 0u) << path;
  }
  fs::permissions(path_, fs::perms::group_read, fs::perm_options::add);
  std::string error;
  EXPECT_EQ(FileArchive::Open(path_, Key(1), kLimit, &error), nullptr);
  EXPECT_THAT(error, HasSubstr("nobody else may enter"));
}

TEST_F(FileArchiveTest, AFolderThatIsNone) {
  std::string error;
  EXPECT_EQ(FileArchive::Open("/dev/null/uploads", Key(1), kLimit, &error), nullptr);
  EXPECT_THAT(error, HasSubstr("/dev/null/uploads"));
}

// Whatever happened to a file: what is told is good, and what comes behind a torn record is not
// read.
TEST_F(FileArchiveTest, ADamagedChunkIsNotTold) {
  const std::vector<Bytes> chunks = {Chunk(1, 100), Chunk(2, 200), Chunk(3, 300)};
  Keep(chunks);
  const fs::path file = Files()[0];
  const uint64_t size = fs::file_size(file);
  Bytes good(size);
  std::ifstream(file, std::ios::binary)
      .read(reinterpret_cast<char*>(good.data()), static_cast<std::streamsize>(size));
  const auto write = [&](const Bytes& bytes) {
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  };
  size_t lost = 0;
  for (size_t at = 0; at < size; ++at) {
    Bytes damaged = good;
    damaged[at] ^= std::byte{4};
    write(damaged);
    const auto archive = Open();
    size_t readable = 0;
    for (const Bytes& chunk : chunks) {
      readable += Reads(*archive, chunk) ? 1 : 0;
    }
    EXPECT_EQ(readable, 0u);
    const std::vector<proto::Hash128> told = Load(*archive);
    for (const Bytes& chunk : chunks) {
      const bool is_told = std::ranges::find(told, Name(*archive, chunk)) != told.end();
      EXPECT_EQ(Reads(*archive, chunk), is_told) << at;
      readable += is_told ? 1 : 0;
    }
    lost += chunks.size() - readable;
  }
  EXPECT_GT(lost, 600u) << "each byte of a chunk counts";
  for (uint64_t cut = 0; cut < size; cut += 7) {
    write(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(cut)));
    const auto archive = Open();
    for (const proto::Hash128& name : Load(*archive)) {
      EXPECT_TRUE(std::ranges::any_of(chunks, [&](const Bytes& chunk) {
        return Name(*archive, chunk) == name && Reads(*archive, chunk);
      })) << cut;
    }
  }
}

TEST_F(FileArchiveTest, WhatIsDamagedLaterIsNotRead) {
  const Bytes chunk = Chunk(1);
  Keep({chunk});
  const auto archive = Open();
  ASSERT_EQ(Load(*archive).size(), 1u);
  Bytes out(chunk.size());
  ASSERT_TRUE(archive->Read(Name(*archive, chunk), out));
  {
    std::fstream file(Files()[0], std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(10'000).put('\0').put('\1');
  }
  EXPECT_FALSE(archive->Read(Name(*archive, chunk), out)) << "other bytes";
  fs::resize_file(Files()[0], fs::file_size(Files()[0]) - 15'000);
  EXPECT_FALSE(archive->Read(Name(*archive, chunk), out)) << "fewer";
}

TEST_F(FileArchiveTest, WhatIsRemovedStaysForTheSession) {
  const Bytes chunk = Chunk(1);
  Keep({chunk});
  const auto archive = Open();
  ASSERT_EQ(Load(*archive).size(), 1u);
  fs::remove_all(path_);
  EXPECT_TRUE(Reads(*archive, chunk));
}

TEST_F(FileArchiveTest, WhatWasNotUsedForLongestGoesFirst) {
  constexpr uint64_t kSmall = 8 * proto::kMaxChunkBytes;
  Keep({Chunk(1, proto::kMaxChunkBytes), Chunk(2, proto::kMaxChunkBytes)}, 1);
  Age(Files()[0], 30);
  const fs::path first = Files()[0];
  for (uint64_t i = 0; i < 3; ++i) {
    Keep({Chunk(10 + i, proto::kMaxChunkBytes), Chunk(20 + i, proto::kMaxChunkBytes)}, 2);
    for (const fs::path& file : Files()) {
      if (file != first &&
          fs::last_write_time(file) > fs::file_time_type::clock::now() - std::chrono::minutes(1)) {
        Age(file, 20 - static_cast<int>(i));
      }
    }
  }
  {
    const auto archive = Open(1);
    Load(*archive);
    EXPECT_TRUE(Reads(*archive, Chunk(1, proto::kMaxChunkBytes)));  // which makes it the youngest
  }
  Open(3, kSmall);
  EXPECT_EQ(Files().size(), 3u);
  EXPECT_TRUE(fs::exists(first));
  EXPECT_EQ(Load(*Open(2)).size(), 4u) << "the oldest of the others has gone";
  Open(3, 1);
  EXPECT_THAT(Files(), IsEmpty());
  EXPECT_THAT(Load(*Open(1)), IsEmpty());
}

TEST_F(FileArchiveTest, ASessionTakesNoMoreThanHalf) {
  std::vector<Bytes> chunks;
  for (uint64_t i = 0; i < 20; ++i) {
    chunks.push_back(Chunk(i, proto::kMaxChunkBytes));
  }
  Keep(chunks, 1, 10 * proto::kMaxChunkBytes);
  EXPECT_EQ(Load(*Open()).size(), 4u);
}

TEST_F(FileArchiveTest, ManyFilesOfATenantAreTooMany) {
  for (uint64_t i = 0; i < FileArchive::kMaxFiles + 3; ++i) {
    Keep({Chunk(i, 50)});
  }
  Open();
  EXPECT_EQ(Files().size(), FileArchive::kMaxFiles);
}

TEST_F(FileArchiveTest, SessionsAtTheSameTime) {
  std::vector<std::thread> sessions;
  for (uint64_t session = 0; session < 4; ++session) {
    sessions.emplace_back([this, session] {
      const auto archive = Open(static_cast<uint8_t>(1 + session % 2), 1u << 20);
      std::thread loader([&] { Load(*archive); });
      for (uint64_t i = 0; i < 200; ++i) {
        const Bytes chunk = Chunk(i * (session + 1) % 100, 1000);
        archive->Keep(Name(*archive, chunk), chunk);
        Bytes out(chunk.size());
        EXPECT_TRUE(!archive->Read(Name(*archive, chunk), out) || out == chunk);
      }
      loader.join();
    });
  }
  for (std::thread& session : sessions) {
    session.join();
  }
  EXPECT_GE(Load(*Open(1)).size(), 100u);
}

}  // namespace
}  // namespace vesper::server
