// SPDX-License-Identifier: Apache-2.0
//
// A whole guest whose host is the input: after a real welcome come the fuzzer's bytes, a frame at a
// time, each when the guest has said something or nothing came for a moment. The guest runs a fixed
// program; whatever it is told, it ends.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client_icd/entry_points_gen.h"
#include "client_icd/environment.h"
#include "client_icd/instance.h"
#include "proto/frame.h"
#include "proto/setup.h"
#include "server/session.h"
#include "tests/framework/mock_vulkan.h"

namespace {

namespace proto = vesper::proto;
namespace vk = vesper::client::entry;
using vesper::tests::MockVulkan;

constexpr std::chrono::milliseconds kPatience{2};

class Capture : public vesper::transport::Connection {
 public:
  bool Write(std::span<const std::span<const std::byte>> parts) override {
    for (const auto& part : parts) {
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    return true;
  }
  size_t ReadSome(std::span<std::byte>) override { return 0; }
  void Shutdown() override {}
  bool PeerIsGone() const override { return false; }
  std::string Error() const override { return {}; }
  std::string Peer() const override { return "capture"; }
  bool IsLocal() const override { return true; }

  std::vector<std::byte> bytes;
};

/// What a host answers to a guest that knows every command.
std::vector<std::byte> MakeWelcome() {
  MockVulkan mock;
  mock.SetExtensions(false);
  proto::Hello hello;
  hello.command_hashes = proto::CommandHashes();
  hello.struct_hashes.resize(proto::MaxStructNumber() + 1u);  // no chains: small and quick
  proto::Buffer frame;
  proto::EncodeHello(hello, frame);
  Capture capture;
  vesper::server::Session session(capture, &MockVulkan::GetProcAddr, "");
  std::string error;
  (void)session.HandleHello(frame.Bytes().subspan(proto::kFrameHeaderBytes), &error);
  return capture.bytes;
}

class Host : public vesper::transport::Connection {
 public:
  Host(std::span<const std::byte> welcome, std::span<const std::byte> rest)
      : welcome_(welcome), rest_(rest) {}

  bool Write(std::span<const std::span<const std::byte>>) override {
    const std::lock_guard lock(mutex_);
    ++writes_;
    changed_.notify_all();
    return !closed_;
  }
  size_t ReadSome(std::span<std::byte> buffer) override {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [this] { return writes_ > 0 || closed_; });
    if (closed_) {
      return 0;
    }
    if (!welcome_.empty()) {
      return Hand(welcome_, welcome_.size(), buffer);
    }
    if (left_of_frame_ == 0) {
      writes_ -= writes_ > 0 ? 1 : 0;
      uint32_t payload = 0;
      if (rest_.size() >= proto::kFrameHeaderBytes) {
        std::memcpy(&payload, rest_.data(), sizeof(payload));
      }
      left_of_frame_ = std::min<size_t>(rest_.size(), proto::kFrameHeaderBytes + size_t{payload});
    }
    const size_t given = Hand(rest_, left_of_frame_, buffer);
    left_of_frame_ -= given;
    return given;
  }
  void Shutdown() override {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  bool PeerIsGone() const override { return false; }
  std::string Error() const override { return {}; }
  std::string Peer() const override { return "fuzzer"; }
  bool IsLocal() const override { return true; }

 private:
  size_t Hand(std::span<const std::byte>& from, size_t most, std::span<std::byte> to) {
    const size_t bytes = std::min(most, to.size());
    std::memcpy(to.data(), from.data(), bytes);
    from = from.subspan(bytes);
    return bytes;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::span<const std::byte> welcome_;
  std::span<const std::byte> rest_;
  size_t left_of_frame_ = 0;
  int writes_ = 0;
  bool closed_ = false;
};

void UseDevice(VkDevice device) {
  VkQueue queue = VK_NULL_HANDLE;
  vk::vkGetDeviceQueue(device, 0, 0, &queue);
  const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, 8192,
                                  vesper::tests::kMockCoherent};
  VkDeviceMemory memory = VK_NULL_HANDLE;
  if (vk::vkAllocateMemory(device, &info, nullptr, &memory) == VK_SUCCESS) {
    const VkBufferCreateInfo buffer_info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 0, 8192,
                                         VK_BUFFER_USAGE_STORAGE_BUFFER_BIT};
    VkBuffer buffer = VK_NULL_HANDLE;
    vk::vkCreateBuffer(device, &buffer_info, nullptr, &buffer);
    vk::vkBindBufferMemory(device, buffer, memory, 0);
    void* data = nullptr;
    if (vk::vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &data) == VK_SUCCESS) {
      std::memset(data, 0x33, 8192);
    }
    const VkFenceCreateInfo fence_info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkFence fence = VK_NULL_HANDLE;
    vk::vkCreateFence(device, &fence_info, nullptr, &fence);
    const VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    if (vk::vkQueueSubmit(queue, 1, &submit, fence) == VK_SUCCESS) {
      vk::vkWaitForFences(device, 1, &fence, VK_TRUE, UINT64_MAX);
    }
    vk::vkUnmapMemory(device, memory);
    vk::vkDestroyFence(device, fence, nullptr);
    vk::vkDestroyBuffer(device, buffer, nullptr);
    vk::vkFreeMemory(device, memory, nullptr);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::byte> welcome = MakeWelcome();
  auto host = std::make_unique<Host>(welcome, std::as_bytes(std::span<const uint8_t>(data, size)));
  const VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  VkInstance instance = VK_NULL_HANDLE;
  if (vesper::client::CreateInstanceOn(std::move(host), {}, &info, nullptr, &instance) !=
      VK_SUCCESS) {
    std::abort();  // the welcome is no part of the input
  }
  uint32_t count = 1;
  VkPhysicalDevice physical = VK_NULL_HANDLE;
  vk::vkEnumeratePhysicalDevices(instance, &count, &physical);
  const float priorities[] = {1.0f, 1.0f};
  const VkDeviceQueueCreateInfo queues[] = {
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 0, 2, priorities},
      {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 1, 1, priorities}};
  const VkDeviceCreateInfo device_info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, nullptr, 0, 2, queues};
  VkDevice device = VK_NULL_HANDLE;
  if (vk::vkCreateDevice(physical, &device_info, nullptr, &device) == VK_SUCCESS) {
    UseDevice(device);
    vk::vkDestroyDevice(device, nullptr);
  }
  vk::vkDestroyInstance(instance, nullptr);
  return 0;
}
