// SPDX-License-Identifier: Apache-2.0
// Memory that the program rarely reads: what the device writes there stays on the host until the
// program touches it. What is looked at: the bytes that pass over the link, and that every byte is
// right, whoever touches it from wherever, and that nobody waits for ever.
#include "tests/integration/memory_download.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "tests/framework/random.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kLarge = 64 * kMiB;

TEST_F(MemoryDownloadTest, WhatIsNeverReadIsNotSent) {
  Open();
  const Buffer buffer = MakeHostBuffer(gpu_, kLarge);
  FillUntilDeferred(buffer);
  const uint64_t sent = BytesBack([&] {
    for (uint32_t i = 0; i < 16; ++i) {
      Fill(buffer, 200 + i);
    }
  });
  EXPECT_LT(sent, 64u << 10) << "16 times 64 MiB were written, and nobody read them";
  // All of it, once.
  const uint64_t read = BytesBack([&] { EXPECT_TRUE(Holds(buffer, 215)); });
  EXPECT_GE(read, kLarge);
  EXPECT_LT(read, kLarge + kLarge / 8);
  // What the program reads is pushed from now on, and need not be asked for.
  const uint64_t pushed = BytesBack([&] { Fill(buffer, 30); });
  EXPECT_GE(pushed, kLarge);
  EXPECT_LT(BytesBack([&] { EXPECT_TRUE(Holds(buffer, 30)); }), 64u << 10);
}

TEST_F(MemoryDownloadTest, WithoutItAllIsSent) {
  Open("push");
  const Buffer buffer = MakeHostBuffer(gpu_, 4 * kMiB);
  FillUntilDeferred(buffer);
  EXPECT_GE(BytesBack([&] { Fill(buffer, 200); }), 4 * kMiB);
}

TEST_F(MemoryDownloadTest, OneByteInTheMiddleCostsABlock) {
  Open();
  const Buffer buffer = MakeHostBuffer(gpu_, kLarge);
  FillUntilDeferred(buffer);
  Fill(buffer, 0x77);
  volatile const uint8_t* byte = buffer.data + kLarge / 2 + 5;
  const uint64_t sent = BytesBack([&] { EXPECT_EQ(0x77, *byte); });
  EXPECT_LT(sent, 128u << 10);
  EXPECT_LT(BytesBack([&] { EXPECT_EQ(0x77, byte[-1]); }), 1u << 10);
}

TEST_F(MemoryDownloadTest, WhatTheProgramKeepsReadingIsPushed) {
  Open();
  const Buffer buffer = MakeHostBuffer(gpu_, 16 * kMiB);
  const auto* words = reinterpret_cast<volatile const uint32_t*>(buffer.data);
  const size_t seen = 9 * kMiB / 4;
  for (uint32_t i = 0; i < 3 * kUntilDeferred; ++i) {
    Fill(buffer, i);
    ASSERT_EQ(Word(i), words[seen]);
  }
  // The word's block comes unasked, the others do not come.
  const uint64_t sent = BytesBack([&] { Fill(buffer, 100); });
  EXPECT_GE(sent, 64u << 10);
  EXPECT_LT(sent, 512u << 10);
  EXPECT_LT(BytesBack([&] { EXPECT_EQ(Word(100), words[seen]); }), 1u << 10);
  EXPECT_TRUE(Holds(buffer, 100));
}

TEST_F(MemoryDownloadTest, SystemCallsReadAndWriteAbsentPages) {
  Open("always");
  const Buffer buffer = MakeHostBuffer(gpu_, 8 * kMiB);
  const TemporaryFolder folder;
  const int file = open(folder.Path("file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  for (uint32_t round = 1; round < 4; ++round) {
    Fill(buffer, round);
    Fill(buffer, 10 * round);
    // Out of it, over many absent pages at once.
    const size_t size = 3 * kMiB;
    ASSERT_EQ(static_cast<ssize_t>(size), pwrite(file, buffer.data + kMiB, size, 0));
    std::vector<uint8_t> copy(size);
    ASSERT_EQ(static_cast<ssize_t>(size), pread(file, copy.data(), size, 0));
    EXPECT_TRUE(Holds(copy.data(), size, 10 * round));
    // And into it: some bytes of an absent page, whose neighbours must stay.
    Fill(buffer, 20 * round);
    Fill(buffer, 30 * round);
    uint8_t* const target = buffer.data + 6 * kMiB + 4090;
    ASSERT_EQ(12, pread(file, target, 12, 0));
    EXPECT_EQ(0, std::memcmp(target, copy.data(), 12));
    const std::vector<uint8_t> seen = ReadBack(gpu_, buffer.handle, buffer.size);
    EXPECT_EQ(0, std::memcmp(seen.data(), buffer.data, buffer.size)) << "the device's view";
    std::memset(target, 0, 12);
    EXPECT_TRUE(Holds(buffer.data, 6 * kMiB, 30 * round));
  }
  close(file);
}

TEST_F(MemoryDownloadTest, ManyThreadsTouchWhileAnotherSubmits) {
  Open("always");
  const Buffer buffer = MakeHostBuffer(gpu_, 16 * kMiB);
  const Buffer other = MakeHostBuffer(gpu_, 2 * kMiB);
  for (uint32_t round = 1; round < 6; ++round) {
    Fill(buffer, round);
    Fill(buffer, 100 + round);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> readers;
    for (size_t thread = 0; thread < 6; ++thread) {
      readers.emplace_back([&, thread] {
        // Each in an order of its own, so that they meet.
        for (size_t i = 0; i < 64; ++i) {
          const size_t piece = thread % 2 == 0 ? i : 63 - i;
          wrong += Holds(buffer.data + piece * 256 * 1024, 256 * 1024, 100 + round) ? 0 : 1;
        }
      });
    }
    for (uint32_t i = 0; i < 10; ++i) {
      Fill(other, i);
      EXPECT_TRUE(Holds(other, i));
    }
    for (std::thread& reader : readers) {
      reader.join();
    }
    EXPECT_EQ(0, wrong);
  }
}

TEST_F(MemoryDownloadTest, BytesOfBothSidesAreKept) {
  for (const char* mode : {"always", "lazy"}) {
    SCOPED_TRACE(mode);
    Open(mode);
    {
      const Buffer buffer = MakeHostBuffer(gpu_, 4 * kMiB);
      FillUntilDeferred(buffer);
      Fill(buffer, 0x22);
      std::vector<uint8_t> expected(buffer.size, 0x22);
      for (size_t at = 1; at < buffer.size; at += 100'003) {
        buffer.data[at] = expected[at] = 0x33;
      }
      EXPECT_EQ(expected, ReadBack(gpu_, buffer.handle, buffer.size)) << "as the device sees it";
      EXPECT_EQ(0, std::memcmp(expected.data(), buffer.data, buffer.size));
    }
    gpu_.Close();
  }
}

// A store, and a submission at once: what was stored before must reach the device, whenever the
// page is taken out of sight.
TEST_F(MemoryDownloadTest, StoresBeforeAPageGoesAreKept) {
  Open("always");
  const Buffer buffer = MakeHostBuffer(gpu_, 2 * kMiB);
  std::vector<uint32_t> expected(buffer.size / 4);
  Random random(7);
  for (uint32_t round = 1; round < 60; ++round) {
    Fill(buffer, round, 0, kMiB);
    std::fill_n(expected.begin(), kMiB / 4, Word(round));
    for (int i = 0; i < 8; ++i) {
      const size_t at = random.Below(expected.size());
      buffer.As<uint32_t>()[at] = expected[at] = 1000 + round;
    }
    ASSERT_EQ(expected, ReadBackAs<uint32_t>(gpu_, buffer.handle, expected.size())) << round;
  }
}

// A thread stores one word in a page, at any moment, and looks at it until its page has been out of
// sight and was fetched. Another submits work that makes the device write the neighbours. What is
// stored while a collection has the page already and has not yet taken it away is lost easily.
TEST_F(MemoryDownloadTest, StoresWhilePagesGoAreKept) {
  Open("always");
  constexpr size_t kPageWords = 1024;
  constexpr size_t kStores = 300;
  const Buffer buffer = MakeHostBuffer(gpu_, 8 * kMiB);
  const size_t pages = buffer.size / 4096;
  std::vector<VkCommandBuffer> fills;
  for (uint32_t value = 5; value < 7; ++value) {
    // One word of each block.
    fills.push_back(gpu_.Record([&](VkCommandBuffer commands) {
      for (size_t at = 4; at < buffer.size; at += 64 << 10) {
        gpu_.vk.CmdFillBuffer(commands, buffer.handle, at, 4, value);
      }
    }));
  }
  std::atomic<uint32_t> submissions = 0;
  std::atomic<bool> is_done = false;
  std::vector<size_t> stored;
  std::thread storer([&] {
    Random random(3);
    uint32_t last = 0;
    const auto look = [&last, words = static_cast<const volatile uint32_t*>(
                                  buffer.As<uint32_t>().data())](size_t at) { last = words[at]; };
    for (size_t i = 0; i < kStores; ++i) {
      // What is there goes with the second submission from now: from the first page on, so that
      // the last ones go late.
      const size_t at = (pages - 1 - i % 256) * kPageWords + 100 + i / 256;
      for (size_t word = 0; word < buffer.size / 4; word += 16 * kPageWords) {
        look(word);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(random.Below(4000)));
      buffer.As<uint32_t>()[at] = 1000;
      stored.push_back(at);
      const uint32_t before = submissions;
      while (submissions < before + 2) {
        look(at);
      }
    }
    is_done = true;
  });
  const Owned<VkFence> fence = gpu_.MakeFence();
  while (!is_done) {
    gpu_.Submit(fills[submissions % 2], fence);
    gpu_.Wait(fence);
    VESPER_CHECK(gpu_.vk.ResetFences(gpu_.device, 1, fence.address()));
    ++submissions;
  }
  storer.join();
  const std::vector<uint32_t> seen = ReadBackAs<uint32_t>(gpu_, buffer.handle, buffer.size / 4);
  EXPECT_EQ(
      0, std::count_if(stored.begin(), stored.end(), [&](size_t at) { return seen[at] != 1000; }))
      << "stores that the device does not see";
}

// A page that nobody ever wrote in the guest can't be made to wait for.
TEST_F(MemoryDownloadTest, PagesThatTheGuestNeverHad) {
  Open("lazy");
  const Buffer cleared = MakeHostBuffer(gpu_, kMiB);
  const Buffer buffer = MakeHostBufferInType(gpu_, 4 * kMiB, kStorageUsage, cleared.memory_type);
  for (uint32_t i = 1; i <= 2 * kUntilDeferred; ++i) {
    gpu_.Execute([&](VkCommandBuffer commands) {
      for (VkDeviceSize page = 0; page < buffer.size; page += 8192) {
        gpu_.vk.CmdFillBuffer(commands, buffer.handle, page, 4096, Word(i));
      }
    });
  }
  Fill(buffer, 0x44);
  EXPECT_TRUE(Holds(buffer, 0x44));
}

// What ends a deferral.

TEST_F(MemoryDownloadTest, UnmapAndMap) {
  Open("always");
  const Buffer buffer = MakeHostBuffer(gpu_, 4 * kMiB);
  for (uint32_t round = 1; round < 8; ++round) {
    Fill(buffer, round);
    Fill(buffer, 10 + round);
    if (round % 3 == 1) {
      buffer.data[100] = 1;  // some of it is touched, the rest is not
    }
    gpu_.vk.UnmapMemory(gpu_.device, buffer.memory);
    if (round % 2 == 0) {
      Fill(buffer, 100 + round);
    }
    ASSERT_EQ(buffer.data, gpu_.Map(buffer.memory));
    buffer.data[100] = static_cast<uint8_t>(round % 2 == 0 ? 100 + round : 10 + round);
    EXPECT_TRUE(Holds(buffer, round % 2 == 0 ? 100 + round : 10 + round)) << round;
  }
}

TEST_F(MemoryDownloadTest, FreedWhileAbsent) {
  Open("always");
  for (uint32_t round = 1; round < 10; ++round) {
    Buffer buffer = MakeHostBuffer(gpu_, 3 * kMiB);
    EXPECT_TRUE(Holds(buffer, 0)) << "what another allocation left there";
    Fill(buffer, round);
    Fill(buffer, 10 + round);
    if (round % 2 == 0) {
      EXPECT_TRUE(Holds(buffer, 10 + round));
      Fill(buffer, 20 + round);
    }
  }
}

TEST_F(MemoryDownloadTest, InvalidatingIsNotNeededAndHarmsNot) {
  Open("always");
  const Buffer buffer = MakeHostBuffer(gpu_, 2 * kMiB);
  VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
  range.memory = buffer.memory;
  range.size = VK_WHOLE_SIZE;
  for (uint32_t round = 1; round < 5; ++round) {
    Fill(buffer, round);
    Fill(buffer, 10 + round);
    VESPER_CHECK(gpu_.vk.InvalidateMappedMemoryRanges(gpu_.device, 1, &range));
    VESPER_CHECK(gpu_.vk.FlushMappedMemoryRanges(gpu_.device, 1, &range));
    EXPECT_TRUE(Holds(buffer, 10 + round));
  }
}

TEST_F(MemoryDownloadTest, AForkedChildSeesWhatIsThere) {
  Open("always");
  const Buffer buffer = MakeHostBuffer(gpu_, 2 * kMiB);
  Fill(buffer, 1);
  Fill(buffer, 2);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(30);
    // Nobody could fetch here. The bytes of some time are there, and storing works.
    const uint8_t byte = buffer.data[kMiB / 2];
    buffer.data[kMiB + 5] = 2;
    _exit(byte <= 2 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
  buffer.data[kMiB + 5] = 0;
  EXPECT_TRUE(Holds(buffer.data, kMiB, 2));
  Fill(buffer, 3);
  EXPECT_TRUE(Holds(buffer, 3));
}

TEST_F(MemoryDownloadTest, ALostSessionLeavesNobodyWaiting) {
  const TestServer server(target_);
  SetMode("always");
  UseDriver(target_, server.endpoint());
  {
    Gpu gpu;
    gpu.Open();
    const std::vector<pid_t> workers = server.Workers();
    Buffer buffer = MakeHostBuffer(gpu, 4 * kMiB);
    for (uint32_t value = 1; value < 3; ++value) {
      gpu.Execute([&](VkCommandBuffer commands) {
        gpu.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, Word(value));
      });
    }
    // The host hears nothing any more, and so nobody answers who touches.
    for (const pid_t worker : workers) {
      kill(worker, SIGSTOP);
    }
    std::atomic<bool> is_through = false;
    std::thread toucher([&] {
      uint8_t byte = buffer.data[kMiB];
      EXPECT_LE(byte, 2);
      is_through = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    EXPECT_FALSE(is_through) << "nothing was absent";
    for (const pid_t worker : workers) {
      kill(worker, SIGKILL);
    }
    toucher.join();
    // And nobody waits later.
    for (size_t at = 0; at < buffer.size; at += 4096) {
      EXPECT_LE(buffer.data[at], 2);
      buffer.data[at] = 1;
    }
    gpu.vk.UnmapMemory(gpu.device, buffer.memory);
  }
  UseDriver(target_, near_);
}

}  // namespace
}  // namespace vesper::tests
