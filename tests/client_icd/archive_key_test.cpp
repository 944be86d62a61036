// SPDX-License-Identifier: Apache-2.0
#include "client_icd/archive_key.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "tests/framework/process.h"

namespace vesper::client {
namespace {

namespace fs = std::filesystem;
using tests::TemporaryFolder;

TEST(ArchiveKey, StaysTheSame) {
  const TemporaryFolder folder;
  const std::string cache = folder.Path("not/there/yet");
  const auto key = ReadArchiveKey(cache);
  ASSERT_TRUE(key.has_value());
  EXPECT_EQ(ReadArchiveKey(cache), key);
  const TemporaryFolder other;
  EXPECT_NE(ReadArchiveKey(other.Path("cache")), key);
}

TEST(ArchiveKey, IsForTheUserOnly) {
  const TemporaryFolder folder;
  ASSERT_TRUE(ReadArchiveKey(folder.Path("")).has_value());
  const std::string path = folder.Path("upload-key");
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.Path("")), fs::directory_iterator()), 1)
      << "something else was left there";
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  EXPECT_FALSE(ReadArchiveKey(folder.Path("")).has_value()) << "others know it";
}

TEST(ArchiveKey, WhatIsNoKeyIsNotReplaced) {
  const TemporaryFolder folder;
  const std::string path = folder.Path("upload-key");
  std::ofstream(path) << "something";
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  EXPECT_FALSE(ReadArchiveKey(folder.Path("")).has_value());
  EXPECT_EQ(fs::file_size(path), 9u);
  fs::remove(path);
  fs::create_symlink("/dev/zero", path);
  EXPECT_FALSE(ReadArchiveKey(folder.Path("")).has_value());
}

TEST(ArchiveKey, NeedsAFolder) {
  EXPECT_FALSE(ReadArchiveKey("").has_value());
  EXPECT_FALSE(ReadArchiveKey("/dev/null/cache").has_value());
}

TEST(ArchiveKey, ManyAtOnceAgree) {
  for (int round = 0; round < 20; ++round) {
    const TemporaryFolder folder;
    std::vector<std::optional<proto::HashKey>> keys(8);
    std::vector<std::thread> threads;
    for (auto& key : keys) {
      threads.emplace_back([&] { key = ReadArchiveKey(folder.Path("cache")); });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    for (const auto& key : keys) {
      ASSERT_TRUE(key.has_value());
      EXPECT_EQ(key, keys[0]);
    }
  }
}

}  // namespace
}  // namespace vesper::client
