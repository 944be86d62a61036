// SPDX-License-Identifier: Apache-2.0
// Random programs of several threads against what must be in their memory, byte for byte after each
// call that tells of the GPU's end. docs/testing.md says how to have more of them, and how to
// repeat one.
#include "tests/integration/memory_program.h"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr size_t kThreads = 3;

uint64_t Number(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

class MemoryProgramTest : public VulkanTest {
 protected:
  void Configure(GpuOptions& options) override {
    placed_ = PlacedMapping::Find(gpu(), options);
    if (placed_.offered()) {
      options.device_features = &placed_.features;
    }
    can_import_ = HasDeviceExtension(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    if (can_import_) {
      options.device_extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    }
  }

  // One of each kind, and one large; the types that the host can map take turns.
  void MakeMemories(Random& random) {
    const std::vector<uint32_t> types = DistinctHostVisibleTypes(TypesForBuffers());
    ASSERT_FALSE(types.empty());
    size_t next = random.Below(types.size());
    const std::pair<MemoryKind, VkDeviceSize> wanted[] = {
        {MemoryKind::kUpload, 64 << 10},   {MemoryKind::kTransfer, (200 << 10) + 52},
        {MemoryKind::kStorage, 128 << 10}, {MemoryKind::kAddress, 96 << 10},
        {MemoryKind::kImage, 64 << 10},    {MemoryKind::kDedicated, 40'004},
        {MemoryKind::kTransfer, 12 << 20}};
    for (const auto& [kind, size] : wanted) {
      memories_.push_back(
          std::make_unique<TestMemory>(gpu(), kind, size, types[next++ % types.size()], placed_));
    }
    if (can_import_) {
      memories_.push_back(
          std::make_unique<TestMemory>(gpu(), MemoryKind::kImported, 80 << 10, types[0], placed_));
    }
    memories_.push_back(std::make_unique<TestMemory>(
        gpu(), MemoryKind::kDevice, 50'000,
        FindMemoryType(TypesForBuffers(), VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT), placed_));
    for (const std::unique_ptr<TestMemory>& memory : memories_) {
      memory->Clear();
      if (memory->mappable()) {
        memory->Map(random);
      }
    }
  }

  // The memory types in which a buffer with the usages of this test may be.
  uint32_t TypesForBuffers() {
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = 65536;
    info.usage = kStorageUsage | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    const Owned<VkBuffer> buffer = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
    VkMemoryRequirements requirements{};
    vk.GetBufferMemoryRequirements(device, buffer, &requirements);
    return requirements.memoryTypeBits;
  }

  void RunWithSeed(uint64_t seed, uint64_t steps) {
    Random random(seed);
    memories_.clear();
    MakeMemories(random);
    std::vector<std::vector<Plot>> plots(kThreads);
    for (const std::unique_ptr<TestMemory>& memory : memories_) {
      std::vector<std::vector<Plot>> divided = Divide(*memory, kThreads, random);
      for (size_t i = 0; i < kThreads; ++i) {
        std::move(divided[i].begin(), divided[i].end(), std::back_inserter(plots[i]));
      }
    }
    std::vector<std::unique_ptr<MemoryProgram>> programs;
    for (size_t i = 0; i < kThreads; ++i) {
      programs.push_back(std::make_unique<MemoryProgram>(gpu(), locks_, memories_,
                                                         std::move(plots[i]), seed * kThreads + i));
    }
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        uint64_t step = 0;
        try {
          for (; step < steps && !stop; ++step) {
            programs[i]->Step();
          }
          if (!stop) {
            programs[i]->CheckTheGpusView();
          }
        } catch (const std::exception& error) {
          stop = true;
          ADD_FAILURE() << "seed " << seed << ", thread " << i << ", step " << step << " of "
                        << steps << ": " << error.what();
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    VESPER_CHECK(vk.DeviceWaitIdle(device));
    programs.clear();
    memories_.clear();
  }

  PlacedMapping placed_;
  bool can_import_ = false;
  QueueLocks locks_;
  std::vector<std::unique_ptr<TestMemory>> memories_;
};

TEST_F(MemoryProgramTest, EveryByteIsWhatItMustBe) {
  VESPER_REQUIRE(features.v12.storageBuffer8BitAccess && features.v12.bufferDeviceAddress);
  const uint64_t steps = Number("VESPER_TEST_STEPS", 100);
  if (const uint64_t seed = Number("VESPER_TEST_SEED", 0); seed != 0) {
    RunWithSeed(seed, steps);
    return;
  }
  const uint64_t seeds = 2 + Number("VESPER_TEST_MORE_SEEDS", 0);
  for (uint64_t seed = 1; seed <= seeds && !HasFailure(); ++seed) {
    RunWithSeed(seed, steps);
  }
}

}  // namespace
}  // namespace vesper::tests
