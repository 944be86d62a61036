// SPDX-License-Identifier: Apache-2.0
// Which files of a guest the worker maps, and what of them.
#include "server/shared_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace vesper::server {
namespace {

using transport::UniqueFd;

constexpr uint64_t kPage = 4096;

UniqueFd MakeFile(unsigned flags, uint64_t size, int seals) {
  UniqueFd file(::memfd_create("guest", MFD_CLOEXEC | flags));
  EXPECT_EQ(::ftruncate(file.get(), static_cast<off_t>(size)), 0);
  if (seals != 0) {
    EXPECT_EQ(::fcntl(file.get(), F_ADD_SEALS, seals), 0);
  }
  return file;
}

std::unique_ptr<SharedFile> Accept(UniqueFd file, std::string* why_not) {
  return SharedFile::Accept(std::move(file), why_not);
}

TEST(SharedFile, OnlyFilesThatCannotShrink) {
  std::string why_not;
  EXPECT_EQ(Accept(UniqueFd(), &why_not), nullptr);
  EXPECT_NE(why_not.find("no file"), std::string::npos);
  for (const int seals : {0, F_SEAL_GROW}) {
    EXPECT_EQ(Accept(MakeFile(MFD_ALLOW_SEALING, kPage, seals), &why_not), nullptr);
    EXPECT_NE(why_not.find("sealed"), std::string::npos);
  }
  char path[] = "/tmp/vesper-shared-XXXXXX";
  UniqueFd on_disk(::mkstemp(path));
  ASSERT_TRUE(static_cast<bool>(on_disk));
  ::unlink(path);
  EXPECT_EQ(Accept(std::move(on_disk), &why_not), nullptr);
  UniqueFd pipe_end;
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  pipe_end.Reset(ends[0]);
  const UniqueFd other(ends[1]);
  EXPECT_EQ(Accept(std::move(pipe_end), &why_not), nullptr);
  why_not.clear();
  EXPECT_NE(Accept(MakeFile(MFD_ALLOW_SEALING, kPage, F_SEAL_SHRINK), &why_not), nullptr);
  EXPECT_EQ(why_not, "");
}

TEST(SharedFile, OnlyWhatLiesInTheFileIsMapped) {
  UniqueFd file = MakeFile(MFD_ALLOW_SEALING, 4 * kPage, F_SEAL_SHRINK);
  const UniqueFd guests(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  std::string why_not;
  const auto shared = Accept(std::move(file), &why_not);
  ASSERT_NE(shared, nullptr);
  EXPECT_NE(shared->Map(0, 4 * kPage).get(), nullptr);
  EXPECT_NE(shared->Map(3 * kPage, kPage).get(), nullptr);
  EXPECT_EQ(shared->Map(0, 0).get(), nullptr);
  EXPECT_EQ(shared->Map(1, kPage).get(), nullptr) << "not a page";
  EXPECT_EQ(shared->Map(0, 5 * kPage).get(), nullptr);
  EXPECT_EQ(shared->Map(4 * kPage, kPage).get(), nullptr);
  EXPECT_EQ(shared->Map(3 * kPage, UINT64_MAX).get(), nullptr);
  EXPECT_EQ(shared->Map(UINT64_MAX - kPage + 1, kPage).get(), nullptr);
  // What the guest adds can be mapped; what it takes away it cannot.
  ASSERT_EQ(::ftruncate(guests.get(), 6 * kPage), 0);
  EXPECT_NE(shared->Map(4 * kPage, 2 * kPage).get(), nullptr);
  EXPECT_NE(::ftruncate(guests.get(), kPage), 0);
}

TEST(SharedFile, HolesThatTheGuestPunchesAreZeros) {
  UniqueFd file = MakeFile(MFD_ALLOW_SEALING, 4 * kPage, F_SEAL_SHRINK);
  const UniqueFd guests(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  std::string why_not;
  const auto shared = Accept(std::move(file), &why_not);
  ASSERT_NE(shared, nullptr);
  const SharedPages pages = shared->Map(kPage, 2 * kPage);
  auto* bytes = static_cast<volatile unsigned char*>(pages.get());
  ASSERT_NE(bytes, nullptr);
  bytes[kPage] = 7;
  unsigned char seen = 0;
  ASSERT_EQ(::pread(guests.get(), &seen, 1, 2 * kPage), 1);
  EXPECT_EQ(seen, 7);
  ASSERT_EQ(::fallocate(guests.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 * kPage), 0);
  EXPECT_EQ(bytes[kPage], 0);
}

}  // namespace
}  // namespace vesper::server
