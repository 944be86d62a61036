// SPDX-License-Identifier: Apache-2.0
// Memory that the program rarely reads: what the device writes there stays on the host until the
// program touches it. What is looked at: the bytes that pass over the link, and that every byte is
// right, whoever touches it from wherever, and that nobody waits for ever.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "shaders/push_write_comp.h"
#include "tests/framework/memory_tier.h"
#include "tests/framework/random.h"
#include "tests/framework/relay.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kMiB = 1 << 20;
constexpr VkDeviceSize kLarge = 64 * kMiB;
// How often the device writes before what nobody reads is deferred, and some more.
constexpr uint32_t kUntilDeferred = 8;

class MemoryDownloadTest : public VesperOnlyTest {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    // Who waits for itself is ended, rather than the whole run's time-out.
    alarm(120);
    near_ = getenv("VESPER_SERVER");
    const char* mode = getenv("VESPER_DOWNLOAD");
    old_mode_ = mode == nullptr ? "" : mode;
    SetMode("lazy");
    const std::string line = DownloadsInLog(LogOfAnInstance());
    if (line.find("rarely reads") == std::string::npos) {
      GTEST_SKIP() << "This machine or this tier has no downloads on first touch: " << line;
    }
  }
  void TearDown() override {
    gpu_.Close();
    if (relay_ != nullptr) {
      UseDriver(target_, near_);
      relay_.reset();
    }
    if (!near_.empty()) {
      SetMode(old_mode_);
    }
    alarm(0);
  }

  static void SetMode(const std::string& mode) { setenv("VESPER_DOWNLOAD", mode.c_str(), 1); }

  void Open(const std::string& mode = "lazy") {
    SetMode(mode);
    relay_ = std::make_unique<Relay>(near_);
    UseDriver(target_, relay_->endpoint());
    gpu_.Open();
  }

  // Two values differ in each byte of the word.
  static uint32_t Word(uint32_t value) { return (value & 0xff) * 0x01010101; }
  // Fills a buffer, and waits until it is done.
  void Fill(const Buffer& buffer, uint32_t value, VkDeviceSize offset = 0,
            VkDeviceSize size = VK_WHOLE_SIZE) {
    gpu_.Execute([&](VkCommandBuffer commands) {
      gpu_.vk.CmdFillBuffer(commands, buffer.handle, offset, size, Word(value));
    });
  }
  // The device writes until it is deferred.
  void FillUntilDeferred(const Buffer& buffer) {
    for (uint32_t i = 1; i <= kUntilDeferred; ++i) {
      Fill(buffer, i);
    }
  }
  // Bytes from the host while `body` runs.
  template <typename Body>
  uint64_t BytesBack(const Body& body) {
    const uint64_t before = relay_->bytes_back();
    body();
    return relay_->bytes_back() - before;
  }
  static bool Holds(const uint8_t* data, size_t size, uint32_t value) {
    const auto* words = reinterpret_cast<const uint32_t*>(data);
    return std::all_of(words, words + size / 4,
                       [value](uint32_t word) { return word == Word(value); });
  }
  static bool Holds(const Buffer& buffer, uint32_t value) {
    return Holds(buffer.data, buffer.size, value);
  }

  std::string near_;
  std::string old_mode_;
  std::unique_ptr<Relay> relay_;
  Gpu gpu_;
};

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

// The driver itself reads the program's arrays and writes its results, with whatever it holds.
class MemoryDownloadArgumentsTest : public MemoryDownloadTest {
 protected:
  void SetUp() override {
    MemoryDownloadTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    Open("always");
    staging_ = MakeHostBuffer(gpu_, kMiB);
    absent_ = MakeHostBuffer(gpu_, kMiB);
    pool_ = MakePoolOfCommands();
    // Work goes on all the time: progress comes while somebody waits for a page.
    background_ = std::thread([this] { WorkAllTheTime(); });
  }
  void TearDown() override {
    stop_ = true;
    if (background_.joinable()) {
      background_.join();
    }
    pool_ = {};
    absent_ = {};
    staging_ = {};
    MemoryDownloadTest::TearDown();
  }

  Owned<VkCommandPool> MakePoolOfCommands() {
    VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    info.queueFamilyIndex = gpu_.queue_family;
    info.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
    return gpu_.Make(gpu_.vk.CreateCommandPool, gpu_.vk.DestroyCommandPool, info);
  }

  void WorkAllTheTime() {
    VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    info.commandPool = pool_;
    info.commandBufferCount = 1;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VESPER_CHECK(gpu_.vk.AllocateCommandBuffers(gpu_.device, &info, &commands));
    gpu_.RecordInto(commands, VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT, [](VkCommandBuffer) {});
    const Owned<VkFence> fence = gpu_.MakeFence();
    while (!stop_) {
      {
        const std::lock_guard lock(queue_mutex_);
        gpu_.Submit(commands, fence);
      }
      gpu_.Wait(fence);
      VESPER_CHECK(gpu_.vk.ResetFences(gpu_.device, 1, fence.address()));
    }
  }

  // The device puts these bytes at the start of a range that the program does not see.
  template <typename T>
  T* PutAbsent(const T* values, size_t count) {
    for (int i = 0; i < 2; ++i) {
      std::memset(staging_.data, i == 0 ? 0xee : 0, 4096);
      if (i == 1) {
        std::memcpy(staging_.data, values, count * sizeof(T));
      }
      const std::lock_guard lock(queue_mutex_);
      gpu_.Execute([&](VkCommandBuffer commands) {
        CopyBytes(gpu_, commands, staging_.handle, absent_.handle, 4096);
      });
    }
    return reinterpret_cast<T*>(absent_.data);
  }
  template <typename T>
  T* PutAbsent(const T& value) {
    return PutAbsent(&value, 1);
  }

  Buffer staging_;
  Buffer absent_;
  Owned<VkCommandPool> pool_;
  std::mutex queue_mutex_;
  std::atomic<bool> stop_ = false;
  std::thread background_;
};

constexpr int kRepeats = 20;

TEST_F(MemoryDownloadArgumentsTest, DataOfAnUpdate) {
  const Buffer target = MakeHostBuffer(gpu_, 4096);
  for (int i = 0; i < kRepeats; ++i) {
    const std::vector<uint32_t> words(256, Word(7u + static_cast<uint32_t>(i)));
    const uint32_t* data = PutAbsent(words.data(), words.size());
    const std::lock_guard lock(queue_mutex_);
    gpu_.Execute([&](VkCommandBuffer commands) {
      gpu_.vk.CmdUpdateBuffer(commands, target.handle, 0, 1024, data);
    });
    ASSERT_TRUE(Holds(target.data, 1024, words[0] & 0xff));
  }
}

TEST_F(MemoryDownloadArgumentsTest, CodeOfAShader) {
  const std::vector<uint32_t> code(std::begin(kPushWriteComp), std::end(kPushWriteComp));
  ASSERT_LE(code.size() * 4, 4096u);
  for (int i = 0; i < kRepeats; ++i) {
    const uint32_t* absent = PutAbsent(code.data(), code.size());
    EXPECT_NE(VK_NULL_HANDLE, MakeShader(gpu_, {absent, code.size()}).get());
  }
}

TEST_F(MemoryDownloadArgumentsTest, ResultsOfQueries) {
  VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_OCCLUSION;
  info.queryCount = 1;
  const Owned<VkQueryPool> queries =
      gpu_.Make(gpu_.vk.CreateQueryPool, gpu_.vk.DestroyQueryPool, info);
  {
    const std::lock_guard lock(queue_mutex_);
    gpu_.Execute([&](VkCommandBuffer commands) {
      gpu_.vk.CmdResetQueryPool(commands, queries, 0, 1);
      gpu_.vk.CmdBeginQuery(commands, queries, 0, 0);
      gpu_.vk.CmdEndQuery(commands, queries, 0);
    });
  }
  for (int i = 0; i < kRepeats; ++i) {
    const uint64_t before[] = {77, 78, 79};
    uint64_t* results = PutAbsent(before, 3);
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.GetQueryPoolResults(
                              gpu_.device, queries, 0, 1, 16, results, 16,
                              VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT));
    EXPECT_EQ(0u, results[0]);
    EXPECT_EQ(1u, results[1]);
    EXPECT_EQ(79u, results[2]);
  }
}

TEST_F(MemoryDownloadArgumentsTest, Fences) {
  const Owned<VkFence> fence = gpu_.MakeFence(true);
  for (int i = 0; i < kRepeats; ++i) {
    const VkFence* fences = PutAbsent(*fence.address());
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.WaitForFences(gpu_.device, 1, fences, VK_TRUE, kWaitLimitNs));
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.ResetFences(gpu_.device, 1, PutAbsent(*fence.address())));
    ASSERT_EQ(VK_NOT_READY, gpu_.vk.GetFenceStatus(gpu_.device, fence));
    const std::lock_guard lock(queue_mutex_);
    VESPER_CHECK(gpu_.vk.QueueSubmit(gpu_.queue, 0, nullptr, fence));
  }
}

TEST_F(MemoryDownloadArgumentsTest, SemaphoresAndSubmissions) {
  const Owned<VkSemaphore> timeline = gpu_.MakeTimeline();
  for (uint64_t value = 1; value < 3 * kRepeats; value += 3) {
    const VkSemaphoreSignalInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, timeline,
                                       value};
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.SignalSemaphore(gpu_.device, PutAbsent(signal)));

    // A submission that lies in absent memory from its first struct to its last array.
    struct Work {
      VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
      VkTimelineSemaphoreSubmitInfo values{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
      VkSemaphore semaphore;
      uint64_t value;
    } work;
    Work* const place = reinterpret_cast<Work*>(absent_.data);
    work.semaphore = timeline;
    work.value = value + 1;
    work.submit.pNext = &place->values;
    work.submit.signalSemaphoreCount = 1;
    work.submit.pSignalSemaphores = &place->semaphore;
    work.values.signalSemaphoreValueCount = 1;
    work.values.pSignalSemaphoreValues = &place->value;
    ASSERT_EQ(place, PutAbsent(work));
    {
      const std::lock_guard lock(queue_mutex_);
      ASSERT_EQ(VK_SUCCESS, gpu_.vk.QueueSubmit(gpu_.queue, 1, &place->submit, VK_NULL_HANDLE));
    }

    struct Wait {
      VkSemaphoreWaitInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
      VkSemaphore semaphore;
      uint64_t value;
    } wait;
    Wait* const wait_place = reinterpret_cast<Wait*>(absent_.data);
    wait.semaphore = timeline;
    wait.value = value + 1;
    wait.info.semaphoreCount = 1;
    wait.info.pSemaphores = &wait_place->semaphore;
    wait.info.pValues = &wait_place->value;
    ASSERT_EQ(wait_place, PutAbsent(wait));
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.WaitSemaphores(gpu_.device, &wait_place->info, kWaitLimitNs));

    uint64_t* const counter = PutAbsent(uint64_t{55});
    ASSERT_EQ(VK_SUCCESS, gpu_.vk.GetSemaphoreCounterValue(gpu_.device, timeline, counter));
    EXPECT_EQ(value + 1, *counter);
  }
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
