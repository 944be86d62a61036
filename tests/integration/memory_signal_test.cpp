// SPDX-License-Identifier: Apache-2.0
// Programs that handle SIGSEGV themselves, as emulators and garbage collectors do, beside a driver
// that may want to know of faults, too: each must get its own, whoever was there first.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kSize = 1 << 20;
constexpr size_t kOwnBytes = 4096;

// What the handler needs; a handler has no other way to get at it.
struct OwnFaults {
  std::byte* page = nullptr;
  std::atomic<int> count = 0;
  struct sigaction before{};
};
OwnFaults own;

// Lets the program write its own page; hands every other fault to who was there before.
void Handle(int signal, siginfo_t* info, void* context) {
  auto* address = static_cast<std::byte*>(info->si_addr);
  if (address >= own.page && address < own.page + kOwnBytes) {
    ++own.count;
    mprotect(own.page, kOwnBytes, PROT_READ | PROT_WRITE);
  } else if ((own.before.sa_flags & SA_SIGINFO) != 0) {
    own.before.sa_sigaction(signal, info, context);
  } else {
    sigaction(SIGSEGV, &own.before, nullptr);  // And the store faults again.
  }
}

class MemorySignalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    own.page = static_cast<std::byte*>(
        mmap(nullptr, kOwnBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(MAP_FAILED, static_cast<void*>(own.page));
    own.count = 0;
    ASSERT_EQ(0, sigaction(SIGSEGV, nullptr, &at_first_));
  }
  void TearDown() override {
    munmap(own.page, kOwnBytes);
    gpu_.Close();
    sigaction(SIGSEGV, &at_first_, nullptr);
  }

  static void Install() {
    struct sigaction action{};
    action.sa_sigaction = Handle;
    action.sa_flags = SA_SIGINFO;
    ASSERT_EQ(0, sigaction(SIGSEGV, &action, &own.before));
  }

  // Writes to the program's own page, which faults each time, and to mapped memory in turns.
  void WriteBoth() {
    const Buffer buffer = MakeHostBuffer(gpu_, kSize);
    std::vector<uint8_t> expected(kSize);
    Random random(9);
    const int before = own.count;
    for (int round = 1; round <= 20; ++round) {
      for (int i = 0; i < 10; ++i) {
        const size_t at = random.Below(kSize);
        buffer.data[at] = expected[at] = static_cast<uint8_t>(random.Next());
      }
      ASSERT_EQ(0, mprotect(own.page, kOwnBytes, PROT_NONE));
      own.page[round] = std::byte{1};
      ASSERT_EQ(before + round, own.count);
      ASSERT_EQ(expected, ReadBack(gpu_, buffer.handle, kSize)) << "round " << round;
    }
  }

  Gpu gpu_;
  struct sigaction at_first_{};
};

TEST_F(MemorySignalTest, HandlerFromBeforeTheDriver) {
  Install();
  gpu_.Open();
  WriteBoth();
}

TEST_F(MemorySignalTest, HandlerFromAfterTheDriver) {
  gpu_.Open();
  Install();
  WriteBoth();
}

TEST_F(MemorySignalTest, HandlerFromAfterTheFirstMapping) {
  gpu_.Open();
  const Buffer buffer = MakeHostBuffer(gpu_, kSize);
  Install();
  WriteBoth();
}

TEST_F(MemorySignalTest, HandlerThatOutlivesTheDriver) {
  Install();
  gpu_.Open();
  WriteBoth();
  gpu_.Close();
  ASSERT_EQ(0, mprotect(own.page, kOwnBytes, PROT_NONE));
  const int before = own.count;
  own.page[0] = std::byte{1};
  EXPECT_EQ(before + 1, own.count);
}

// The sanitizers have handlers of their own, which make an exit status of a crash.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(MemorySignalTest, ACrashStaysACrash) {
  // In a child: that a driver is loaded must not keep a wrong pointer from ending the program.
  gpu_.Open();
  const Buffer buffer = MakeHostBuffer(gpu_, kSize);
  buffer.data[0] = 1;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);  // A handler that returns forever is a failure, too.
    *reinterpret_cast<volatile int*>(own.page) = 1;
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended with the wait status " << status;
  EXPECT_EQ(SIGSEGV, WTERMSIG(status));
}
#endif

}  // namespace
}  // namespace vesper::tests
