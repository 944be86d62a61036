// SPDX-License-Identifier: Apache-2.0
#include "client_icd/answer_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/framework/process.h"

namespace vesper::client {
namespace {

namespace fs = std::filesystem;

constexpr proto::Hash128 kIdentity{17, 4};

Answer MakeAnswer(uint64_t key, size_t bytes) {
  return {{key, ~key}, std::make_shared<const std::vector<std::byte>>(bytes, std::byte(key))};
}

std::vector<uint64_t> KeysOf(const std::vector<Answer>& answers) {
  std::vector<uint64_t> keys;
  for (const Answer& answer : answers) {
    EXPECT_EQ(answer.key.high, ~answer.key.low);
    keys.push_back(answer.key.low);
  }
  return keys;
}

using Keys = std::vector<uint64_t>;

TEST(AnswerFile, HoldsWhatWasPutIn) {
  const std::vector<std::byte> bytes =
      EncodeAnswers(kIdentity, {MakeAnswer(1, 8), MakeAnswer(2, 0), MakeAnswer(3, 64)});
  const auto answers = DecodeAnswers(kIdentity, bytes);
  ASSERT_TRUE(answers.has_value());
  ASSERT_EQ(KeysOf(*answers), (Keys{1, 2, 3}));
  EXPECT_EQ(*(*answers)[2].reply, std::vector<std::byte>(64, std::byte{3}));
}

TEST(AnswerFile, EveryDamagedByteIsNoticed) {
  const std::vector<std::byte> good = EncodeAnswers(kIdentity, {MakeAnswer(1, 16)});
  for (size_t i = 0; i < good.size(); ++i) {
    std::vector<std::byte> bytes = good;
    bytes[i] ^= std::byte{0x10};
    EXPECT_FALSE(DecodeAnswers(kIdentity, bytes).has_value()) << "byte " << i;
  }
}

TEST(AnswerFile, EveryCutIsNoticed) {
  std::vector<std::byte> bytes = EncodeAnswers(kIdentity, {MakeAnswer(1, 16), MakeAnswer(2, 8)});
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(DecodeAnswers(kIdentity, bytes).has_value());
  bytes.pop_back();
  EXPECT_TRUE(DecodeAnswers(kIdentity, bytes).has_value());
  while (!bytes.empty()) {
    bytes.pop_back();
    EXPECT_FALSE(DecodeAnswers(kIdentity, bytes).has_value()) << bytes.size();
  }
}

TEST(AnswerFile, OfAnotherIdentityIsNone) {
  const std::vector<std::byte> bytes = EncodeAnswers(kIdentity, {MakeAnswer(1, 16)});
  EXPECT_FALSE(DecodeAnswers({18, 4}, bytes).has_value());
  EXPECT_FALSE(DecodeAnswers({17, 5}, bytes).has_value());
}

TEST(AnswerFile, IsBounded) {
  std::vector<Answer> answers = {MakeAnswer(0, kMaxAnswerBytes + 8)};
  for (uint64_t key = 1; key <= 200; ++key) {
    answers.push_back(MakeAnswer(key, kMaxAnswerBytes));
  }
  const std::vector<std::byte> bytes = EncodeAnswers(kIdentity, answers);
  EXPECT_LE(bytes.size(), kMaxAnswerFileBytes);
  EXPECT_GT(bytes.size(), kMaxAnswerFileBytes - kMaxAnswerBytes - 256);
  const auto found = DecodeAnswers(kIdentity, bytes);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->front().key.low, 1u) << "too large by itself is left out, and the others stay";
}

class AnswerFolder : public testing::Test {
 protected:
  std::vector<uint64_t> Load() { return KeysOf(LoadAnswers(folder_, kIdentity)); }
  bool Save(const std::vector<Answer>& answers) { return SaveAnswers(folder_, kIdentity, answers); }
  std::string Path() const { return AnswerFilePath(folder_, kIdentity); }

  const tests::TemporaryFolder parent_;
  const std::string folder_ = parent_.Path("a/b");
};

TEST_F(AnswerFolder, IsMadeForThisUserAlone) {
  EXPECT_EQ(Load(), Keys{});
  ASSERT_TRUE(Save({MakeAnswer(1, 8)}));
  EXPECT_EQ(Load(), Keys{1});
  EXPECT_EQ(fs::status(folder_).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(Path()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(AnswerFolder, SavingMergesAndNewsComeFirst) {
  ASSERT_TRUE(Save({MakeAnswer(1, 8), MakeAnswer(2, 8)}));
  ASSERT_TRUE(Save({MakeAnswer(3, 8), MakeAnswer(2, 8)}));
  EXPECT_EQ(Load(), (Keys{3, 2, 1}));
}

TEST_F(AnswerFolder, ADamagedFileIsReplaced) {
  ASSERT_TRUE(Save({MakeAnswer(1, 8)}));
  std::ofstream(Path(), std::ios::in | std::ios::out | std::ios::binary).seekp(50).put('x');
  EXPECT_EQ(Load(), Keys{});
  ASSERT_TRUE(Save({MakeAnswer(2, 8)}));
  EXPECT_EQ(Load(), Keys{2});
}

TEST_F(AnswerFolder, OnlyPlainFilesAreRead) {
  ASSERT_TRUE(Save({MakeAnswer(1, 8)}));
  const std::string other = parent_.Path("other");
  fs::rename(Path(), other);
  fs::create_symlink(other, Path());
  EXPECT_EQ(Load(), Keys{});
  fs::remove(Path());
  ASSERT_EQ(::mkfifo(Path().c_str(), 0600), 0);
  EXPECT_EQ(Load(), Keys{}) << "and does not wait for a writer";
}

TEST_F(AnswerFolder, AnImpossibleFolderIsNoAnswers) {
  std::ofstream(parent_.Path("a")) << "a file";
  EXPECT_FALSE(Save({MakeAnswer(1, 8)}));
  EXPECT_EQ(Load(), Keys{});
}

TEST_F(AnswerFolder, FilesThatWereNotUsedForTheLongestTimeGo) {
  const auto begin = fs::file_time_type::clock::now() - std::chrono::hours(1000);
  for (uint64_t i = 0; i < kMaxAnswerFiles; ++i) {
    const proto::Hash128 identity{i, 0};
    ASSERT_TRUE(SaveAnswers(folder_, identity, {MakeAnswer(i, 8)}));
    fs::last_write_time(AnswerFilePath(folder_, identity), begin + std::chrono::hours(i));
  }
  LoadAnswers(folder_, {0, 0});  // the oldest is in use
  ASSERT_TRUE(Save({MakeAnswer(1, 8)}));
  EXPECT_FALSE(LoadAnswers(folder_, {0, 0}).empty());
  EXPECT_TRUE(LoadAnswers(folder_, {1, 0}).empty());
  EXPECT_FALSE(LoadAnswers(folder_, {2, 0}).empty());
  EXPECT_FALSE(Load().empty());
}

TEST_F(AnswerFolder, LeftOversOfKilledProcessesGo) {
  ASSERT_TRUE(Save({MakeAnswer(1, 8)}));
  const std::string old = folder_ + "/new-abc";
  const std::string fresh = folder_ + "/new-def";
  std::ofstream(old) << "x";
  std::ofstream(fresh) << "x";
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(30));
  ASSERT_TRUE(Save({MakeAnswer(1, 8)}));
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(fresh));
}

// Writers see each other's files half way, if they do; a reader sees whole ones only.
TEST_F(AnswerFolder, SeveralAtOnce) {
  ASSERT_TRUE(Save({MakeAnswer(1000, 8)}));
  std::vector<std::thread> writers;
  for (uint64_t writer = 0; writer < 4; ++writer) {
    writers.emplace_back([this, writer] {
      for (uint64_t i = 0; i < 25; ++i) {
        EXPECT_TRUE(Save({MakeAnswer(writer * 100 + i, 4096)}));
        EXPECT_FALSE(LoadAnswers(folder_, kIdentity).empty());
      }
    });
  }
  for (std::thread& writer : writers) {
    writer.join();
  }
  const std::vector<uint64_t> keys = Load();
  EXPECT_GE(keys.size(), 25u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST(AnswerFile, ALimitOfFileSizesIsNoTrap) {
  const tests::TemporaryFolder folder;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit little{64, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
  const bool is_saved = SaveAnswers(folder.Path("cache"), kIdentity, {MakeAnswer(1, 4096)});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_FALSE(is_saved);
  EXPECT_TRUE(fs::is_empty(folder.Path("cache")));
  EXPECT_TRUE(SaveAnswers(folder.Path("cache"), kIdentity, {MakeAnswer(1, 4096)}));
}

}  // namespace
}  // namespace vesper::client
