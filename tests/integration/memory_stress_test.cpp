// SPDX-License-Identifier: Apache-2.0
// Random work on mapped memory against a model on the CPU, every byte compared. The seeds are
// fixed.
//
// The model: each mapped buffer has a plain array beside it. What the GPU is told to do is done to
// the arrays at once; what the program writes is written to both. While GPU work is in flight the
// program keeps away from the bytes that this work reads or writes (as the specification asks), and
// from no other byte, so that both write into the same pages and words all the time.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class MemoryStressTest : public VulkanTest, public ::testing::WithParamInterface<uint64_t> {
 protected:
  // A buffer in an allocation of its own, not at its start, and the model of its contents.
  struct Model {
    Owned<VkDeviceMemory> memory;
    Owned<VkBuffer> buffer;
    VkDeviceSize offset = 0;
    uint8_t* data = nullptr;  // Null while unmapped.
    bool mappable = true;
    std::vector<uint8_t> bytes;
    std::vector<bool> busy;  // Touched by GPU work in flight.
  };

  Model MakeModel(VkDeviceSize size, bool mappable, Random& random) {
    Model model;
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = size;
    info.usage = kTransferUsage;
    model.buffer = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
    VkMemoryRequirements requirements{};
    vk.GetBufferMemoryRequirements(device, model.buffer, &requirements);
    model.offset = requirements.alignment * random.Below(40);
    model.mappable = mappable;
    model.memory = Allocate(model.offset + requirements.size,
                            FindMemoryType(requirements.memoryTypeBits,
                                           mappable ? VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                                          VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
                                                    : VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT));
    VESPER_CHECK(vk.BindBufferMemory(device, model.buffer, model.memory, model.offset));
    model.bytes.resize(size);
    model.busy.resize(size);
    if (mappable) {
      MapModel(model, random);
      std::memset(model.data, 0, size);
    } else {
      Execute([&](VkCommandBuffer commands) {
        vk.CmdFillBuffer(commands, model.buffer, 0, VK_WHOLE_SIZE, 0);
      });
    }
    return model;
  }

  // Maps all of the allocation, or from the buffer's start.
  void MapModel(Model& model, Random& random) {
    model.data = random.OneIn(2) ? Map(model.memory) + model.offset
                                 : Map(model.memory, model.offset, model.bytes.size());
  }

  void Compare(const Model& model, const std::string& when) {
    if (model.data != nullptr) {
      const auto difference = std::mismatch(model.bytes.begin(), model.bytes.end(), model.data);
      ASSERT_TRUE(difference.first == model.bytes.end())
          << when << ": byte " << difference.first - model.bytes.begin() << " is "
          << int{*difference.second} << " and should be " << int{*difference.first};
    }
  }

  // Writes a few runs of bytes that no work in flight touches.
  void ProgramWrites(Model& model, Random& random) {
    for (uint64_t runs = random.Between(1, 6); runs > 0; --runs) {
      const size_t begin = random.Below(model.bytes.size());
      const size_t length = random.OneIn(4) ? random.Between(1, 6000) : random.Between(1, 40);
      const size_t end = std::min(model.bytes.size(), begin + length);
      for (size_t i = begin; i < end; ++i) {
        if (!model.busy[i]) {
          model.data[i] = model.bytes[i] = static_cast<uint8_t>(random.Next() >> 13);
        }
      }
    }
  }

  struct Range {
    size_t begin = 0;
    size_t size = 0;
  };

  static Range RandomRange(const Model& model, Random& random, size_t alignment) {
    const size_t limit = random.OneIn(5) ? model.bytes.size() : 300;
    Range range;
    range.begin = random.Below(model.bytes.size() - 16) / alignment * alignment;
    range.size = std::min(random.Between(1, limit), model.bytes.size() - range.begin);
    range.size = std::max(alignment, range.size / alignment * alignment);
    return range;
  }

  static void MarkBusy(Model& model, Range range) {
    std::fill_n(model.busy.begin() + static_cast<std::ptrdiff_t>(range.begin), range.size, true);
  }

  // Records one random transfer and does it to the models.
  void GpuWorks(VkCommandBuffer commands, std::vector<Model>& models, Random& random) {
    Model& target = models[random.Below(models.size())];
    switch (random.Below(4)) {
      case 0: {
        const Range range = RandomRange(target, random, 4);
        const uint32_t value = static_cast<uint32_t>(random.Next());
        vk.CmdFillBuffer(commands, target.buffer, range.begin, range.size, value);
        for (size_t i = 0; i < range.size; ++i) {
          target.bytes[range.begin + i] = static_cast<uint8_t>(value >> i % 4 * 8);
        }
        MarkBusy(target, range);
        break;
      }
      case 1: {
        Range range = RandomRange(target, random, 4);
        range.size = std::min<size_t>(range.size, 65536);
        const std::vector<uint8_t> bytes = random.Bytes(range.size);
        vk.CmdUpdateBuffer(commands, target.buffer, range.begin, range.size, bytes.data());
        std::copy(bytes.begin(), bytes.end(), target.bytes.begin() + range.begin);
        MarkBusy(target, range);
        break;
      }
      default: {
        Model& source = models[random.Below(models.size())];
        Range from = RandomRange(source, random, 1);
        Range to = RandomRange(target, random, 1);
        from.size = to.size = std::min(from.size, to.size);
        if (&source == &target && from.begin < to.begin + to.size &&
            to.begin < from.begin + from.size) {
          return;  // Source and destination of a copy must not overlap.
        }
        CopyBytes(*this, commands, source.buffer, target.buffer, to.size, from.begin, to.begin);
        std::copy_n(source.bytes.begin() + static_cast<std::ptrdiff_t>(from.begin), from.size,
                    target.bytes.begin() + static_cast<std::ptrdiff_t>(to.begin));
        MarkBusy(source, from);
        MarkBusy(target, to);
        break;
      }
    }
    FullBarrier(commands);
  }

  void RunWithSeed(uint64_t seed, int rounds) {
    Random random(seed);
    std::vector<Model> models;
    models.push_back(MakeModel(3 * 4096 + 52, true, random));
    models.push_back(MakeModel(40'000, true, random));
    models.push_back(MakeModel(9'000, true, random));
    models.push_back(MakeModel(20'000, false, random));
    const Owned<VkFence> fence = MakeFence();
    for (int round = 0; round < rounds; ++round) {
      const std::string when = "seed " + std::to_string(seed) + ", round " + std::to_string(round);
      for (uint64_t submits = random.Between(1, 4); submits > 0; --submits) {
        for (Model& model : models) {
          if (model.data != nullptr && !random.OneIn(3)) {
            ProgramWrites(model, random);
          }
          if (model.mappable && random.OneIn(8)) {
            if (model.data != nullptr) {
              vk.UnmapMemory(device, model.memory);
              model.data = nullptr;
            } else {
              MapModel(model, random);
            }
          }
        }
        Submit(Record([&](VkCommandBuffer commands) {
          FullBarrier(commands);
          for (uint64_t works = random.Between(1, 5); works > 0; --works) {
            GpuWorks(commands, models, random);
          }
        }));
      }
      ObserveTheEnd(fence, random);
      for (Model& model : models) {
        std::fill(model.busy.begin(), model.busy.end(), false);
        Compare(model, when);
        if (HasFatalFailure()) {
          return;
        }
      }
    }
    for (Model& model : models) {
      ASSERT_EQ(model.bytes, ReadBack(gpu(), model.buffer, model.bytes.size()))
          << "seed " << seed << ", the GPU's view at the end";
    }
  }

  // Learns that all work is done, by one of several calls.
  void ObserveTheEnd(VkFence fence, Random& random) {
    switch (random.Below(3)) {
      case 0:
        VESPER_CHECK(vk.QueueSubmit(queue, 0, nullptr, fence));
        Wait(fence);
        VESPER_CHECK(vk.ResetFences(device, 1, &fence));
        break;
      case 1:
        VESPER_CHECK(vk.QueueWaitIdle(queue));
        break;
      default:
        VESPER_CHECK(vk.DeviceWaitIdle(device));
        break;
    }
    VESPER_CHECK(vk.ResetCommandPool(device, command_pool, 0));
  }
};

// Four seeds, and as many more as VESPER_TEST_MORE_SEEDS says.
uint64_t SeedCount() {
  const char* more = std::getenv("VESPER_TEST_MORE_SEEDS");
  return 4 + (more == nullptr ? 0 : std::strtoull(more, nullptr, 10));
}

INSTANTIATE_TEST_SUITE_P(Seeds, MemoryStressTest,
                         ::testing::Range<uint64_t>(0x5EED'0001, 0x5EED'0001 + SeedCount()));

TEST_P(MemoryStressTest, ProgramAndGpuAgree) { RunWithSeed(GetParam(), 120); }

}  // namespace
}  // namespace vesper::tests
