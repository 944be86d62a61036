// SPDX-License-Identifier: Apache-2.0
// The link misbehaves: whatever happens to it, the guest neither hangs nor crashes, and its calls
// say what they may say.
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "tests/framework/random.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

bool IsLossOrSuccess(VkResult result) {
  return result == VK_SUCCESS || result == VK_ERROR_DEVICE_LOST ||
         result == VK_ERROR_INITIALIZATION_FAILED || result == VK_ERROR_OUT_OF_DEVICE_MEMORY ||
         result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_MEMORY_MAP_FAILED;
}

class Faults : public WireTest {
 protected:
  Faults() { host_may_complain_ = true; }

  /// A session that uses everything that waits. Returns the results that calls gave.
  void RunScript(const transport::Faults& to_host, const transport::Faults& to_guest) {
    const VkResult connected = Connect(to_host, to_guest);
    ASSERT_TRUE(connected == VK_SUCCESS || connected == VK_ERROR_INITIALIZATION_FAILED);
    if (connected == VK_SUCCESS && physical_device_ != VK_NULL_HANDLE) {
      const VkResult created = CreateDevice();
      EXPECT_TRUE(IsLossOrSuccess(created) || results_are_damaged_) << created;
      if (created == VK_SUCCESS) {
        UseDevice();
      }
    }
    DestroyAll();
    host_->Finish();
    {
      const std::lock_guard lock(host_mutex_);
      host_.reset();
    }
    mock_.Clear();
  }

  void BreakLink() {
    const std::lock_guard lock(host_mutex_);
    if (host_ != nullptr) {
      host_->Kill();
    }
  }

  void RunScriptForAWhile(const transport::Faults& to_host, const transport::Faults& to_guest) {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::thread watchdog([&] {
      std::unique_lock lock(mutex);
      if (!changed.wait_for(lock, std::chrono::milliseconds(300), [&] { return done; })) {
        BreakLink();
      }
    });
    RunScript(to_host, to_guest);
    {
      const std::lock_guard lock(mutex);
      done = true;
    }
    changed.notify_all();
    watchdog.join();
  }

  void UseDevice() {
    const auto expect = [this](VkResult result) {
      EXPECT_TRUE(IsLossOrSuccess(result) || results_are_damaged_) << result;
      return result == VK_SUCCESS;
    };
    VkBuffer buffer = VK_NULL_HANDLE;
    const VkBufferCreateInfo buffer_info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 0, 8192,
                                         VK_BUFFER_USAGE_STORAGE_BUFFER_BIT};
    expect(vk::vkCreateBuffer(device_, &buffer_info, nullptr, &buffer));
    const VkMemoryAllocateInfo memory_info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, 8192,
                                           kMockCoherent};
    VkDeviceMemory memory = VK_NULL_HANDLE;
    void* data = nullptr;
    if (expect(vk::vkAllocateMemory(device_, &memory_info, nullptr, &memory))) {
      if (buffer != VK_NULL_HANDLE) {
        expect(vk::vkBindBufferMemory(device_, buffer, memory, 0));
      }
      if (expect(vk::vkMapMemory(device_, memory, 0, VK_WHOLE_SIZE, 0, &data))) {
        std::memset(data, 0x33, 8192);
      }
    }
    const VkFence fence = CreateFence();
    if (expect(Submit(VK_NULL_HANDLE, fence))) {
      expect(Wait(fence, UINT64_MAX));
    }
    expect(vk::vkQueueWaitIdle(queue_));
    expect(vk::vkDeviceWaitIdle(device_));
    vk::vkDestroyFence(device_, fence, nullptr);
    vk::vkFreeMemory(device_, memory, nullptr);
    vk::vkDestroyBuffer(device_, buffer, nullptr);
  }

  /// Bytes of the set-up in one direction: the least after which a cut comes too late to stop it.
  uint64_t SetUpBytes(bool to_host) {
    uint64_t low = 0;
    uint64_t high = 1u << 20;
    while (high - low > 1) {
      const uint64_t middle = (low + high) / 2;
      transport::Faults faults;
      faults.cut_after = middle;
      const VkResult result = to_host ? Connect(faults, {}) : Connect({}, faults);
      (result == VK_SUCCESS ? high : low) = middle;
      DestroyAll();
      host_->Finish();
      host_.reset();
    }
    mock_.Clear();
    return high;
  }

  bool results_are_damaged_ = false;  // a result is bytes, too
};

/// What the script causes beyond the set-up, at least, in bytes.
constexpr uint64_t kScriptCommands = 1600;
constexpr uint64_t kScriptAnswers = 700;

TEST_F(Faults, ALinkThatBreaksDuringTheSetUp) {
  const uint64_t hello = SetUpBytes(true);
  const uint64_t welcome = SetUpBytes(false);
  transport::Faults faults;
  for (uint64_t cut = 0; cut < hello; cut += cut < 64 ? 5 : 1501) {
    SCOPED_TRACE(cut);
    faults.cut_after = cut;
    RunScript(faults, {});
  }
  for (uint64_t cut = 0; cut < welcome; cut += cut < 200 ? 7 : 2503) {
    SCOPED_TRACE(cut);
    faults.cut_after = cut;
    RunScript({}, faults);
  }
}

TEST_F(Faults, ALinkThatBreaksAtAnyByteOfTheCommands) {
  const uint64_t hello = SetUpBytes(true);
  transport::Faults faults;
  for (uint64_t cut = hello; cut < hello + kScriptCommands; cut += 7) {
    SCOPED_TRACE(cut - hello);
    faults.cut_after = cut;
    RunScript(faults, {});
  }
}

TEST_F(Faults, ALinkThatBreaksAtAnyByteOfTheAnswers) {
  const uint64_t welcome = SetUpBytes(false);
  transport::Faults faults;
  for (uint64_t cut = welcome; cut < welcome + kScriptAnswers; cut += 3) {
    SCOPED_TRACE(cut - welcome);
    faults.cut_after = cut;
    RunScript({}, faults);
  }
}

TEST_F(Faults, ALinkThatGivesABitAtATime) {
  transport::Faults faults;
  faults.max_read = 3;
  RunScript(faults, faults);
}

TEST_F(Faults, ALinkThatIsSlow) {
  transport::Faults faults;
  faults.delay = std::chrono::milliseconds(3);
  faults.max_read = 1000;
  RunScript(faults, faults);
}

TEST_F(Faults, ALinkThatHoldsLittle) {
  transport::Faults faults;
  faults.capacity = 64;
  RunScript(faults, faults);
}

// A damaged length leaves both sides waiting for the rest, and damaged progress never comes: that
// is what the bytes say. So that the test ends, the link breaks some bytes or some time after.

TEST_F(Faults, AnswersThatArriveDamaged) {
  const uint64_t welcome = SetUpBytes(false);
  results_are_damaged_ = true;
  Random random(3);
  for (int round = 0; round < 200; ++round) {
    transport::Faults faults;
    const bool in_set_up = round % 4 == 0;
    faults.corrupt_at = in_set_up ? random.Below(welcome) : welcome + random.Below(kScriptAnswers);
    faults.corrupt_mask = static_cast<std::byte>(1 + random.Below(255));
    faults.cut_after = *faults.corrupt_at + 100 + random.Below(300);
    SCOPED_TRACE(*faults.corrupt_at);
    RunScriptForAWhile({}, faults);
  }
}

TEST_F(Faults, CommandsThatArriveDamaged) {
  const uint64_t hello = SetUpBytes(true);
  Random random(4);
  for (int round = 0; round < 200; ++round) {
    transport::Faults faults;
    const bool in_set_up = round % 4 == 0;
    faults.corrupt_at = in_set_up ? random.Below(hello) : hello + random.Below(kScriptCommands);
    faults.corrupt_mask = static_cast<std::byte>(1 + random.Below(255));
    faults.cut_after = *faults.corrupt_at + 100 + random.Below(300);
    SCOPED_TRACE(*faults.corrupt_at);
    RunScriptForAWhile(faults, {});
  }
}

}  // namespace
}  // namespace vesper::tests
