// SPDX-License-Identifier: Apache-2.0
// The program's process has no memory left: each allocation of the standard library that a call
// makes is refused in turn. Nothing may be thrown to the program, nothing may be half made, and the
// session goes on.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "client_icd/c_boundary.h"
#include "tests/framework/wire_test.h"

namespace {

// How many allocations of this thread succeed before one is refused; negative while none is.
thread_local int allocations_left = -1;
thread_local bool was_refused = false;

void* Allocate(std::size_t size, std::size_t alignment) {
  if (allocations_left == 0) {
    allocations_left = -1;
    was_refused = true;
    return nullptr;
  }
  if (allocations_left > 0) {
    --allocations_left;
  }
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void* AllocateOrThrow(std::size_t size, std::size_t alignment) {
  void* memory = Allocate(size == 0 ? 1 : size, alignment);
  return memory != nullptr ? memory : throw std::bad_alloc();
}

constexpr std::size_t kDefaultAlignment = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

void* operator new(std::size_t size) { return AllocateOrThrow(size, kDefaultAlignment); }
void* operator new[](std::size_t size) { return AllocateOrThrow(size, kDefaultAlignment); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return AllocateOrThrow(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return Allocate(size == 0 ? 1 : size, kDefaultAlignment);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return Allocate(size == 0 ? 1 : size, kDefaultAlignment);
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return Allocate(size == 0 ? 1 : size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  std::free(memory);
}

namespace vesper::tests {
namespace {

// The loopback needs memory where a socket has the kernel's: what is refused is the driver's.
class Spared : public transport::Connection {
 public:
  explicit Spared(std::unique_ptr<transport::Connection> connection)
      : connection_(std::move(connection)) {}

  bool Write(std::span<const std::span<const std::byte>> parts) override {
    const int left = std::exchange(allocations_left, -1);
    const bool written = connection_->Write(parts);
    allocations_left = left;
    return written;
  }
  size_t ReadSome(std::span<std::byte> buffer) override { return connection_->ReadSome(buffer); }
  void Shutdown() override { connection_->Shutdown(); }
  bool PeerIsGone() const override { return connection_->PeerIsGone(); }
  std::string Error() const override { return connection_->Error(); }
  std::string Peer() const override { return connection_->Peer(); }
  bool IsLocal() const override { return connection_->IsLocal(); }

 private:
  std::unique_ptr<transport::Connection> connection_;
};

class OutOfMemory : public WireTest {
 protected:
  std::unique_ptr<transport::Connection> Wrap(
      std::unique_ptr<transport::Connection> guest) override {
    return std::make_unique<Spared>(std::move(guest));
  }
  void SetUp() override { Open(); }

  // The entry point that a program gets.
  template <typename Function>
  Function Get(Function, const char* name) {
    return reinterpret_cast<Function>(vk::vkGetDeviceProcAddr(device_, name));
  }

  // Calls `make` with its first, second, ... allocation refused until none is, and undoes with
  // `destroy` what was made. Returns how many allocations there were.
  template <typename Handle, typename Make, typename Destroy>
  int Refuse(const Make& make, const Destroy& destroy) {
    for (int refused = 0;; ++refused) {
      Handle handle = VK_NULL_HANDLE;
      allocations_left = refused;
      was_refused = false;
      const VkResult result = make(&handle);
      allocations_left = -1;
      if (result == VK_SUCCESS) {
        EXPECT_NE(handle, Handle{VK_NULL_HANDLE});
        destroy(handle);
      } else {
        EXPECT_TRUE(was_refused);
        EXPECT_EQ(result, VK_ERROR_OUT_OF_HOST_MEMORY);
        EXPECT_EQ(handle, Handle{VK_NULL_HANDLE}) << "allocation " << refused;
      }
      if (!was_refused || refused == 1000) {
        EXPECT_EQ(result, VK_SUCCESS);
        return refused;
      }
    }
  }
};

#define GET(command) Get(&vk::command, #command)

TEST_F(OutOfMemory, Buffers) {
  const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 0, 64};
  const auto create = GET(vkCreateBuffer);
  EXPECT_GE(
      Refuse<VkBuffer>([&](VkBuffer* buffer) { return create(device_, &info, nullptr, buffer); },
                       [&](VkBuffer buffer) { vk::vkDestroyBuffer(device_, buffer, nullptr); }),
      1);
}

TEST_F(OutOfMemory, RenderPasses) {
  const VkSubpassDescription subpasses[3] = {};
  const VkRenderPassCreateInfo info{
      VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO, nullptr, 0, 0, nullptr, 3, subpasses};
  const auto create = GET(vkCreateRenderPass);
  EXPECT_GE(Refuse<VkRenderPass>(
                [&](VkRenderPass* made) { return create(device_, &info, nullptr, made); },
                [&](VkRenderPass made) { vk::vkDestroyRenderPass(device_, made, nullptr); }),
            2);
}

TEST_F(OutOfMemory, CommandBuffers) {
  const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr,
                                         pool_, VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
  const auto allocate = GET(vkAllocateCommandBuffers);
  EXPECT_GE(
      Refuse<VkCommandBuffer>(
          [&](VkCommandBuffer* buffer) { return allocate(device_, &info, buffer); },
          [&](VkCommandBuffer buffer) { vk::vkFreeCommandBuffers(device_, pool_, 1, &buffer); }),
      2);
}

TEST_F(OutOfMemory, DescriptorSets) {
  const VkDescriptorPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr,
                                             0, 8};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorPool(device_, &pool_info, nullptr, &pool), VK_SUCCESS);
  const VkDescriptorSetLayoutCreateInfo layout_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  VkDescriptorSetLayout layout = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorSetLayout(device_, &layout_info, nullptr, &layout), VK_SUCCESS);
  const VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr,
                                         pool, 1, &layout};
  const auto allocate = GET(vkAllocateDescriptorSets);
  EXPECT_GE(Refuse<VkDescriptorSet>(
                [&](VkDescriptorSet* set) { return allocate(device_, &info, set); },
                [&](VkDescriptorSet set) { vk::vkFreeDescriptorSets(device_, pool, 1, &set); }),
            2);
  vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);
  vk::vkDestroyDescriptorPool(device_, pool, nullptr);
}

TEST_F(OutOfMemory, UpdateTemplates) {
  const VkDescriptorUpdateTemplateEntry entries[] = {
      {0, 0, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 0, 0}};
  const VkDescriptorUpdateTemplateCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO, nullptr, 0, 1, entries};
  const auto create = GET(vkCreateDescriptorUpdateTemplate);
  EXPECT_GE(
      Refuse<VkDescriptorUpdateTemplate>(
          [&](VkDescriptorUpdateTemplate* made) { return create(device_, &info, nullptr, made); },
          [&](VkDescriptorUpdateTemplate made) {
            vk::vkDestroyDescriptorUpdateTemplate(device_, made, nullptr);
          }),
      2);
}

TEST_F(OutOfMemory, MappedMemory) {
  const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, 4096,
                                  kMockCoherent};
  const auto allocate = GET(vkAllocateMemory);
  const auto map = GET(vkMapMemory);
  EXPECT_GE(Refuse<VkDeviceMemory>(
                [&](VkDeviceMemory* memory) { return allocate(device_, &info, nullptr, memory); },
                [&](VkDeviceMemory memory) { vk::vkFreeMemory(device_, memory, nullptr); }),
            1);
  const VkDeviceMemory memory = Allocate(4096, kMockCoherent);
  EXPECT_GE(
      Refuse<void*>([&](void** data) { return map(device_, memory, 0, VK_WHOLE_SIZE, 0, data); },
                    [&](void* data) {
                      std::memset(data, 1, 4096);
                      vk::vkUnmapMemory(device_, memory);
                    }),
      1);
  vk::vkFreeMemory(device_, memory, nullptr);
}

TEST_F(OutOfMemory, Devices) {
  const float priority = 1.0f;
  const VkDeviceQueueCreateInfo queue{
      VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 0, 1, &priority};
  const VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, nullptr, 0, 1, &queue};
  const auto create =
      reinterpret_cast<PFN_vkCreateDevice>(vk::vkGetInstanceProcAddr(instance_, "vkCreateDevice"));
  EXPECT_GE(Refuse<VkDevice>(
                [&](VkDevice* device) { return create(physical_device_, &info, nullptr, device); },
                [&](VkDevice device) { vk::vkDestroyDevice(device, nullptr); }),
            3);
  EXPECT_EQ(Calls().size() % 2, 0u);
  EXPECT_EQ(mock_.Live(), 1u + 1u + 3u) << "nothing stays on the host: the test's own device, its "
                                           "pool and its queues' timelines";
}

TEST_F(OutOfMemory, ARecordingThatLostACommandFails) {
  const VkCommandBuffer commands = Begin();
  const VkMultiDrawInfoEXT draws[2] = {{0, 3}, {3, 3}};
  allocations_left = 0;
  client::Guarded<&vk::vkCmdDrawMultiEXT>::Call(commands, 2, draws, 1, 0, sizeof(draws[0]));
  allocations_left = -1;
  EXPECT_EQ(vk::vkEndCommandBuffer(commands), VK_ERROR_OUT_OF_HOST_MEMORY);
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  ASSERT_EQ(vk::vkBeginCommandBuffer(commands, &begin), VK_SUCCESS);
  EXPECT_EQ(vk::vkEndCommandBuffer(commands), VK_SUCCESS) << "begun anew, it is whole again";
}

TEST_F(OutOfMemory, AnUpdateThatCannotBeMadeLosesTheSession) {
  const VkDescriptorUpdateTemplateEntry entries[] = {
      {0, 0, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 0, 0}};
  const VkDescriptorUpdateTemplateCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO, nullptr, 0, 1, entries};
  VkDescriptorUpdateTemplate update = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorUpdateTemplate(device_, &info, nullptr, &update), VK_SUCCESS);
  const VkDescriptorBufferInfo data{};
  allocations_left = 0;
  GET(vkUpdateDescriptorSetWithTemplate)(device_, VK_NULL_HANDLE, update, &data);
  allocations_left = -1;
  EXPECT_EQ(vk::vkQueueSubmit(queue_, 0, nullptr, VK_NULL_HANDLE), VK_ERROR_DEVICE_LOST)
      << "the program can't be told otherwise that its descriptors are not there";
  vk::vkDestroyDescriptorUpdateTemplate(device_, update, nullptr);
}

}  // namespace
}  // namespace vesper::tests
