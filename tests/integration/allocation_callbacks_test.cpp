// SPDX-License-Identifier: Apache-2.0
// VkAllocationCallbacks: everything that a driver takes from the program's allocator goes back to
// it, also when the allocator fails in the middle.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "shaders/push_write_comp.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

// An allocator that knows what is out, and that can be told to fail at the Nth request.
class CountingAllocator {
 public:
  CountingAllocator() {
    callbacks_.pUserData = this;
    callbacks_.pfnAllocation = [](void* self, size_t size, size_t alignment,
                                  VkSystemAllocationScope scope) {
      return static_cast<CountingAllocator*>(self)->Allocate(size, alignment, scope);
    };
    callbacks_.pfnReallocation = [](void* self, void* original, size_t size, size_t alignment,
                                    VkSystemAllocationScope scope) {
      return static_cast<CountingAllocator*>(self)->Reallocate(original, size, alignment, scope);
    };
    callbacks_.pfnFree = [](void* self, void* memory) {
      static_cast<CountingAllocator*>(self)->Free(memory);
    };
  }

  const VkAllocationCallbacks* callbacks() const { return &callbacks_; }
  size_t outstanding() const { return sizes_.size(); }
  size_t requests() const { return requests_; }
  size_t foreign_frees() const { return foreign_frees_; }
  // The request with this number from now on fails, and all after it.
  void FailAfter(size_t successes) { limit_ = requests_ + successes; }
  void FailNoMore() { limit_ = SIZE_MAX; }

 private:
  void* Allocate(size_t size, size_t alignment, VkSystemAllocationScope scope) {
    const std::lock_guard lock(lock_);
    EXPECT_NE(0u, alignment);
    EXPECT_EQ(0u, alignment & (alignment - 1));
    EXPECT_LE(scope, VK_SYSTEM_ALLOCATION_SCOPE_INSTANCE);
    if (requests_++ >= limit_) {
      return nullptr;
    }
    void* memory = nullptr;
    if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), std::max<size_t>(size, 1)) !=
        0) {
      return nullptr;
    }
    sizes_[memory] = size;
    return memory;
  }

  void* Reallocate(void* original, size_t size, size_t alignment, VkSystemAllocationScope scope) {
    if (original == nullptr) {
      return Allocate(size, alignment, scope);
    }
    if (size == 0) {
      Free(original);
      return nullptr;
    }
    void* memory = Allocate(size, alignment, scope);
    if (memory != nullptr) {
      std::memcpy(memory, original, std::min(size, sizes_.at(original)));
      Free(original);
    }
    return memory;
  }

  void Free(void* memory) {
    const std::lock_guard lock(lock_);
    if (memory == nullptr) {
      return;
    }
    if (sizes_.erase(memory) == 0) {
      ++foreign_frees_;
      return;
    }
    free(memory);
  }

  VkAllocationCallbacks callbacks_{};
  std::mutex lock_;
  std::map<void*, size_t> sizes_;
  size_t requests_ = 0;
  size_t limit_ = SIZE_MAX;
  size_t foreign_frees_ = 0;
};

class AllocationCallbacksTest : public VulkanTest {
 protected:
  // Creates and destroys with the counting allocator, then with one that fails at the first
  // request, the second, and so on until it is never asked that often. `create` returns what its
  // vkCreate returned; `destroy` undoes a success.
  void ExerciseObject(const std::function<VkResult(const VkAllocationCallbacks*)>& create,
                      const std::function<void(const VkAllocationCallbacks*)>& destroy) {
    CountingAllocator allocator;
    ASSERT_EQ(VK_SUCCESS, create(allocator.callbacks()));
    destroy(allocator.callbacks());
    EXPECT_GT(allocator.requests(), 0u) << "the allocator was not asked";
    EXPECT_EQ(0u, allocator.outstanding());
    EXPECT_EQ(0u, allocator.foreign_frees());
    for (size_t successes = 0; successes < 1000; ++successes) {
      allocator.FailAfter(successes);
      const VkResult result = create(allocator.callbacks());
      if (result == VK_SUCCESS) {
        destroy(allocator.callbacks());
        EXPECT_EQ(0u, allocator.outstanding());
        return;
      }
      ASSERT_EQ(VK_ERROR_OUT_OF_HOST_MEMORY, result) << "after " << successes << " successes";
      ASSERT_EQ(0u, allocator.outstanding()) << "after " << successes << " successes";
    }
    FAIL() << "The object could not be created with a thousand allocations.";
  }
};

TEST_F(AllocationCallbacksTest, Buffer) {
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = 4096;
  info.usage = kTransferUsage;
  VkBuffer buffer = VK_NULL_HANDLE;
  ExerciseObject(
      [&](const VkAllocationCallbacks* callbacks) {
        return vk.CreateBuffer(device, &info, callbacks, &buffer);
      },
      [&](const VkAllocationCallbacks* callbacks) { vk.DestroyBuffer(device, buffer, callbacks); });
}

TEST_F(AllocationCallbacksTest, MemoryMappedAndFreed) {
  VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  info.allocationSize = 1 << 16;
  info.memoryTypeIndex = FindMemoryType(
      ~0u, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
  VkDeviceMemory memory = VK_NULL_HANDLE;
  CountingAllocator allocator;
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(VK_SUCCESS, vk.AllocateMemory(device, &info, allocator.callbacks(), &memory));
    Map(memory)[100] = 1;
    if (round == 1) {
      vk.UnmapMemory(device, memory);
    }
    vk.FreeMemory(device, memory, allocator.callbacks());
    EXPECT_EQ(0u, allocator.outstanding());
  }
}

TEST_F(AllocationCallbacksTest, SemaphoreFenceEvent) {
  VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO};
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  VkSemaphoreCreateInfo semaphore_info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  semaphore_info.pNext = &type;
  VkSemaphore semaphore = VK_NULL_HANDLE;
  ExerciseObject(
      [&](const VkAllocationCallbacks* callbacks) {
        return vk.CreateSemaphore(device, &semaphore_info, callbacks, &semaphore);
      },
      [&](const VkAllocationCallbacks* callbacks) {
        vk.DestroySemaphore(device, semaphore, callbacks);
      });
  const VkFenceCreateInfo fence_info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  VkFence fence = VK_NULL_HANDLE;
  ExerciseObject(
      [&](const VkAllocationCallbacks* callbacks) {
        return vk.CreateFence(device, &fence_info, callbacks, &fence);
      },
      [&](const VkAllocationCallbacks* callbacks) { vk.DestroyFence(device, fence, callbacks); });
  const VkEventCreateInfo event_info{VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  VkEvent event = VK_NULL_HANDLE;
  ExerciseObject(
      [&](const VkAllocationCallbacks* callbacks) {
        return vk.CreateEvent(device, &event_info, callbacks, &event);
      },
      [&](const VkAllocationCallbacks* callbacks) { vk.DestroyEvent(device, event, callbacks); });
}

TEST_F(AllocationCallbacksTest, SeveralPipelinesInOneCall) {
  // A failure in the middle must give back what came before it. What a driver does about the
  // handles is its affair; here a null is never destroyed and a pipeline always is.
  const Owned<VkShaderModule> module = MakeShader(gpu(), kPushWriteComp);
  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                             VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  const Owned<VkDescriptorSetLayout> set_layout = MakeSetLayout(gpu(), {&binding, 1});
  const Owned<VkPipelineLayout> layout =
      MakePipelineLayout(gpu(), {set_layout.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 8);
  VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = "main";
  info.layout = layout;
  const std::vector<VkComputePipelineCreateInfo> infos(3, info);
  CountingAllocator allocator;
  VkResult result = VK_ERROR_UNKNOWN;
  for (size_t successes = 0; result != VK_SUCCESS && successes < 1000; ++successes) {
    allocator.FailAfter(successes);
    VkPipeline pipelines[3] = {};
    result = vk.CreateComputePipelines(device, VK_NULL_HANDLE, 3, infos.data(),
                                       allocator.callbacks(), pipelines);
    ASSERT_TRUE(result == VK_SUCCESS || result == VK_ERROR_OUT_OF_HOST_MEMORY)
        << ResultName(result);
    for (const VkPipeline pipeline : pipelines) {
      ASSERT_TRUE(result != VK_SUCCESS || pipeline != VK_NULL_HANDLE);
      vk.DestroyPipeline(device, pipeline, allocator.callbacks());
    }
    ASSERT_EQ(0u, allocator.outstanding()) << "after " << successes << " successes";
  }
  EXPECT_EQ(VK_SUCCESS, result);
}

TEST_F(AllocationCallbacksTest, PoolsAllocateForTheirChildren) {
  CountingAllocator allocator;
  VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  pool_info.queueFamilyIndex = queue_family;
  VkCommandPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS, vk.CreateCommandPool(device, &pool_info, allocator.callbacks(), &pool));
  VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  info.commandPool = pool;
  info.commandBufferCount = 10;
  VkCommandBuffer buffers[10] = {};
  ASSERT_EQ(VK_SUCCESS, vk.AllocateCommandBuffers(device, &info, buffers));
  vk.FreeCommandBuffers(device, pool, 5, buffers);
  // Too little memory for some of ten: none of them is there afterwards.
  for (size_t successes = 0; successes < 1000; ++successes) {
    allocator.FailAfter(successes);
    VkCommandBuffer more[10] = {};
    const VkResult result = vk.AllocateCommandBuffers(device, &info, more);
    allocator.FailNoMore();
    if (result == VK_SUCCESS) {
      vk.FreeCommandBuffers(device, pool, 10, more);
      break;
    }
    ASSERT_EQ(VK_ERROR_OUT_OF_HOST_MEMORY, result);
    for (VkCommandBuffer buffer : more) {
      ASSERT_EQ(VkCommandBuffer{VK_NULL_HANDLE}, buffer);
    }
  }
  vk.DestroyCommandPool(device, pool, allocator.callbacks());
  EXPECT_EQ(0u, allocator.outstanding());
  EXPECT_EQ(0u, allocator.foreign_frees());
}

TEST(AllocationCallbacksOfInstances, InstanceAndDeviceGiveAllBack) {
  CountingAllocator allocator;
  {
    Gpu gpu;
    GpuOptions options;
    options.allocator = allocator.callbacks();
    gpu.Open(options);
    EXPECT_GT(allocator.outstanding(), 0u);
    const Buffer buffer = MakeHostBuffer(gpu, 4096);
    gpu.Execute([&](VkCommandBuffer commands) {
      gpu.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 1);
    });
  }
  EXPECT_EQ(0u, allocator.outstanding());
  EXPECT_EQ(0u, allocator.foreign_frees());
}

TEST(AllocationCallbacksOfInstances, FailingDeviceCreation) {
  CountingAllocator allocator;
  Gpu gpu;
  gpu.OpenInstance();
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queue_info{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue_info.queueCount = 1;
  queue_info.pQueuePriorities = &priority;
  VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue_info;
  VkResult result = VK_ERROR_UNKNOWN;
  for (size_t successes = 0; result != VK_SUCCESS && successes < 1000; ++successes) {
    allocator.FailAfter(successes);
    VkDevice device = VK_NULL_HANDLE;
    result = gpu.vk.CreateDevice(gpu.physical_device, &info, allocator.callbacks(), &device);
    if (result == VK_SUCCESS) {
      gpu.vk.LoadDevice(device, VK_API_VERSION_1_0);
      gpu.vk.DestroyDevice(device, allocator.callbacks());
    } else {
      // The loader turns the driver's OUT_OF_HOST_MEMORY into other errors in places.
      ASSERT_LT(result, 0) << ResultName(result);
    }
    ASSERT_EQ(0u, allocator.outstanding()) << "after " << successes << " successes";
  }
  EXPECT_EQ(VK_SUCCESS, result);
}

}  // namespace
}  // namespace vesper::tests
