// SPDX-License-Identifier: Apache-2.0
// Which memory a submission reads or writes is not always plain to see: addresses come out of other
// memory, descriptors change after they were recorded, usages stand in a chain, devices share a
// process. Each case here is a way to reach mapped memory that whoever looks at the calls may miss.
#include <cstring>
#include <memory>

#include "shaders/chase_comp.h"
#include "shaders/push_write_comp.h"
#include "shaders/scatter_comp.h"
#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kSize = 3 * 65536;

class MemoryReachTest : public VulkanTest {
 protected:
  void SubmitAndWait(VkCommandBuffer commands) {
    Submit(commands);
    VESPER_CHECK(vk.QueueWaitIdle(queue));
  }

  uint32_t HostType(uint32_t type_bits) const {
    return FindMemoryType(
        type_bits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
  }

  // A buffer that holds addresses, is mapped, and has one.
  Buffer MakeAddressed(VkDeviceSize size) {
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = size;
    info.usage = VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    Buffer buffer;
    buffer.size = size;
    buffer.handle = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
    VkMemoryRequirements requirements{};
    vk.GetBufferMemoryRequirements(device, buffer.handle, &requirements);
    VkMemoryAllocateFlagsInfo flags{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO};
    flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
    buffer.memory = Allocate(requirements.size, HostType(requirements.memoryTypeBits), &flags);
    VESPER_CHECK(vk.BindBufferMemory(device, buffer.handle, buffer.memory, 0));
    buffer.data = Map(buffer.memory);
    std::memset(buffer.data, 0, size);
    return buffer;
  }
  VkDeviceAddress AddressOf(const Buffer& buffer) {
    VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
    info.buffer = buffer.handle;
    return vk.GetBufferDeviceAddress(device, &info);
  }
};

TEST_F(MemoryReachTest, AddressesFoundInMemory) {
  VESPER_REQUIRE(features.v12.bufferDeviceAddress);
  // Nothing that is recorded names the two buffers; the program changes where the addresses lead.
  const Buffer addresses = MakeHostBuffer(gpu(), 32);
  const VkBuffer handle = addresses.handle;
  const Kernel kernel = MakeKernel(gpu(), kChaseComp, {&handle, 1});
  const Buffer from = MakeAddressed(kSize);
  std::vector<Buffer> targets;
  targets.push_back(MakeAddressed(kSize));
  targets.push_back(MakeAddressed(kSize));
  VkCommandBuffer commands = Record([&](VkCommandBuffer recording) {
    FullBarrier(recording);
    kernel.Dispatch(gpu(), recording, 1);
    FullBarrier(recording);
  });
  for (uint32_t round = 0; round < 20; ++round) {
    const Buffer& to = targets[round % 2];
    const VkDeviceSize first = round * 1500;
    const struct {
      uint64_t from, to;
      uint32_t count, unused;
    } chain{AddressOf(from) + first, AddressOf(to) + first, 64, 0};
    std::memcpy(addresses.data, &chain, sizeof(chain));
    uint32_t* words = reinterpret_cast<uint32_t*>(from.data + first);
    for (uint32_t i = 0; i < 64; ++i) {
      words[i] = round * 1000 + i;
    }
    SubmitAndWait(commands);
    const uint32_t* seen = reinterpret_cast<const uint32_t*>(to.data + first);
    for (uint32_t i = 0; i < 64; ++i) {
      ASSERT_EQ(round * 1000 + i + 1, seen[i]) << "word " << i << ", round " << round;
    }
  }
}

TEST_F(MemoryReachTest, DescriptorsThatChangeAfterRecording) {
  VESPER_REQUIRE(features.v12.descriptorBindingStorageBufferUpdateAfterBind &&
                 features.v12.storageBuffer8BitAccess);
  VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                       VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  const VkDescriptorBindingFlags late = VK_DESCRIPTOR_BINDING_UPDATE_AFTER_BIND_BIT;
  VkDescriptorSetLayoutBindingFlagsCreateInfo flags{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO};
  flags.bindingCount = 1;
  flags.pBindingFlags = &late;
  VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  info.pNext = &flags;
  info.flags = VK_DESCRIPTOR_SET_LAYOUT_CREATE_UPDATE_AFTER_BIND_POOL_BIT;
  info.bindingCount = 1;
  info.pBindings = &binding;
  const Owned<VkDescriptorSetLayout> set_layout =
      Make(vk.CreateDescriptorSetLayout, vk.DestroyDescriptorSetLayout, info);
  const Owned<VkPipelineLayout> layout =
      MakePipelineLayout(gpu(), {set_layout.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 16);
  const Owned<VkPipeline> pipeline = MakeComputePipeline(gpu(), kScatterComp, layout);
  const VkDescriptorPoolSize pool_size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
  const Owned<VkDescriptorPool> pool =
      MakePool(gpu(), {&pool_size, 1}, 1, VK_DESCRIPTOR_POOL_CREATE_UPDATE_AFTER_BIND_BIT);
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  const Buffer buffers[] = {MakeHostBuffer(gpu(), kSize), MakeHostBuffer(gpu(), kSize),
                            MakeHostBuffer(gpu(), kSize)};
  WriteBufferDescriptor(gpu(), set, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffers[0].handle);
  VkCommandBuffer commands = Record([&](VkCommandBuffer recording) {
    FullBarrier(recording);
    const uint32_t push[] = {70'001, 3, 100, 9};
    vk.CmdPushConstants(recording, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(push), push);
    vk.CmdBindPipeline(recording, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdBindDescriptorSets(recording, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0,
                             nullptr);
    vk.CmdDispatch(recording, 2, 1, 1);
    FullBarrier(recording);
  });
  for (const size_t i : {2, 1, 0, 2}) {
    WriteBufferDescriptor(gpu(), set, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffers[i].handle);
    std::memset(buffers[i].data, 0x44, kSize);
    SubmitAndWait(commands);
    EXPECT_EQ(9, buffers[i].data[70'001]);
    EXPECT_EQ(16, buffers[i].data[70'004]);
    EXPECT_EQ(0x44, buffers[i].data[70'002]);
  }
}

TEST_F(MemoryReachTest, UsageThatStandsInTheChain) {
  VESPER_REQUIRE(features.v14.maintenance5);
  // Where the chain has a usage, the struct's own is ignored: the device may write this buffer.
  VkBufferUsageFlags2CreateInfo usage{VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO};
  usage.usage = VK_BUFFER_USAGE_2_TRANSFER_DST_BIT | VK_BUFFER_USAGE_2_STORAGE_BUFFER_BIT;
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.pNext = &usage;
  info.size = kSize;
  info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
  const Owned<VkBuffer> buffer = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  VkMemoryRequirements requirements{};
  vk.GetBufferMemoryRequirements(device, buffer, &requirements);
  const Owned<VkDeviceMemory> memory =
      Allocate(requirements.size, HostType(requirements.memoryTypeBits));
  ASSERT_EQ(VK_SUCCESS, vk.BindBufferMemory(device, buffer, memory, 0));
  const uint8_t* data = Map(memory);
  const VkBuffer handle = buffer;
  const Kernel kernel = MakeKernel(gpu(), kPushWriteComp, {&handle, 1}, 8);
  for (uint32_t round = 1; round < 5; ++round) {
    Execute([&](VkCommandBuffer commands) {
      vk.CmdFillBuffer(commands, buffer, 0, 4096, round * 0x01010101);
      FullBarrier(commands);
      const uint32_t push[2] = {20'000, round};
      vk.CmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
      kernel.Dispatch(gpu(), commands, 1);
    });
    EXPECT_EQ(round, data[4095]);
    EXPECT_EQ(round, reinterpret_cast<const uint32_t*>(data)[20'000]);
  }
}

class SparseMemoryReachTest : public MemoryReachTest {
 protected:
  void Configure(GpuOptions& options) override { options.sparse = true; }
};

TEST_F(SparseMemoryReachTest, MemoryBoundSparsely) {
  VESPER_REQUIRE(features.core.features.sparseBinding == VK_TRUE);
  VESPER_REQUIRE((queue_families[queue_family].queueFlags & VK_QUEUE_SPARSE_BINDING_BIT) != 0);
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.flags = VK_BUFFER_CREATE_SPARSE_BINDING_BIT;
  info.size = kSize;
  info.usage = kTransferUsage;
  const Owned<VkBuffer> sparse = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  VkMemoryRequirements requirements{};
  vk.GetBufferMemoryRequirements(device, sparse, &requirements);
  const Buffer witness = MakeHostBuffer(gpu(), kSize);
  uint32_t type = 0;
  try {
    type = HostType(requirements.memoryTypeBits);
  } catch (const std::exception&) {
    VESPER_REQUIRE(!"memory that the program can map for sparse buffers");
  }
  // Two memories that take turns; nothing else is ever bound to them.
  std::vector<Owned<VkDeviceMemory>> memories;
  std::vector<uint8_t*> data;
  for (int i = 0; i < 2; ++i) {
    memories.push_back(Allocate(requirements.size, type));
    data.push_back(Map(memories.back()));
  }
  const Owned<VkFence> fence = MakeFence();
  Random random(5);
  for (uint32_t round = 1; round < 7; ++round) {
    const size_t turn = round % 2;
    VkSparseMemoryBind bind{};
    bind.size = requirements.size;
    bind.memory = memories[turn];
    VkSparseBufferMemoryBindInfo buffer_bind{sparse, 1, &bind};
    VkBindSparseInfo sparse_info{VK_STRUCTURE_TYPE_BIND_SPARSE_INFO};
    sparse_info.bufferBindCount = 1;
    sparse_info.pBufferBinds = &buffer_bind;
    ASSERT_EQ(VK_SUCCESS, vk.QueueBindSparse(queue, 1, &sparse_info, fence));
    Wait(fence);
    ASSERT_EQ(VK_SUCCESS, vk.ResetFences(device, 1, fence.address()));
    for (int i = 0; i < 100; ++i) {
      data[turn][4096 + random.Below(kSize - 4096)] = static_cast<uint8_t>(random.Next());
    }
    Execute([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      vk.CmdFillBuffer(commands, sparse, 0, 4096, round * 0x01010101);
      FullBarrier(commands);
      CopyBytes(gpu(), commands, sparse, witness.handle, kSize);
    });
    ASSERT_EQ(round, data[turn][0]);
    ASSERT_EQ(round, data[turn][4095]);
    ASSERT_EQ(0, std::memcmp(data[turn], witness.data, kSize)) << "round " << round;
  }
}

TEST_F(MemoryReachTest, QueryResultsCopiedByTheGpu) {
  VESPER_REQUIRE(queue_families[queue_family].timestampValidBits != 0);
  const VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, nullptr, 0,
                                   VK_QUERY_TYPE_TIMESTAMP, 4};
  const Owned<VkQueryPool> pool = Make(vk.CreateQueryPool, vk.DestroyQueryPool, info);
  const Buffer results = MakeHostBuffer(gpu(), kSize, kTransferUsage);
  for (int round = 0; round < 5; ++round) {
    std::memset(results.data, 0, kSize);
    Execute([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      vk.CmdResetQueryPool(commands, pool, 0, 4);
      for (uint32_t i = 0; i < 4; ++i) {
        vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, i);
      }
      vk.CmdCopyQueryPoolResults(commands, pool, 0, 4, results.handle, 65536, 4096 + 16,
                                 VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT |
                                     VK_QUERY_RESULT_WITH_AVAILABILITY_BIT);
    });
    for (size_t i = 0; i < 4; ++i) {
      uint64_t pair[2];
      std::memcpy(pair, results.data + 65536 + i * (4096 + 16), sizeof(pair));
      EXPECT_NE(0u, pair[1]) << "query " << i << " is not available";
    }
  }
}

TEST_F(MemoryReachTest, QueryResultsTellOfWhatCameBefore) {
  VESPER_REQUIRE(queue_families[queue_family].timestampValidBits != 0);
  // Nothing but the result of a query tells the program that the copy is done.
  const VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, nullptr, 0,
                                   VK_QUERY_TYPE_TIMESTAMP, 1};
  const Owned<VkQueryPool> pool = Make(vk.CreateQueryPool, vk.DestroyQueryPool, info);
  const Buffer source = MakeHostBuffer(gpu(), kSize);
  const Buffer target = MakeHostBuffer(gpu(), kSize);
  VkCommandBuffer commands = Record([&](VkCommandBuffer recording) {
    vk.CmdResetQueryPool(recording, pool, 0, 1);
    FullBarrier(recording);
    CopyBytes(gpu(), recording, source.handle, target.handle, kSize);
    FullBarrier(recording);
    vk.CmdWriteTimestamp(recording, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 0);
  });
  for (uint64_t round = 0; round < 6; ++round) {
    Random(round).Fill(source.bytes());
    vk.ResetQueryPool(device, pool, 0, 1);
    Submit(commands);
    uint64_t time = 0;
    ASSERT_EQ(VK_SUCCESS,
              vk.GetQueryPoolResults(device, pool, 0, 1, sizeof(time), &time, sizeof(time),
                                     VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
    ASSERT_EQ(0, std::memcmp(source.data, target.data, kSize)) << "round " << round;
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
  }
}

TEST_F(MemoryReachTest, SecondaryCommandBuffersRecordedAnew) {
  const Buffer source = MakeHostBuffer(gpu(), kSize);
  const Buffer targets[] = {MakeHostBuffer(gpu(), kSize), MakeHostBuffer(gpu(), kSize)};
  VkCommandBuffer secondary = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  VkCommandBuffer primary = AllocateCommandBuffer();
  for (uint32_t round = 1; round < 8; ++round) {
    const Buffer& target = targets[round % 2];
    VkCommandBufferInheritanceInfo inherited{VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
    VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    begin.pInheritanceInfo = &inherited;
    ASSERT_EQ(VK_SUCCESS, vk.BeginCommandBuffer(secondary, &begin));
    CopyBytes(gpu(), secondary, source.handle, target.handle, kSize);
    ASSERT_EQ(VK_SUCCESS, vk.EndCommandBuffer(secondary));
    RecordInto(primary, 0, [&](VkCommandBuffer commands) {
      FullBarrier(commands);
      vk.CmdExecuteCommands(commands, 1, &secondary);
      FullBarrier(commands);
    });
    Random(round).Fill(source.bytes());
    SubmitAndWait(primary);
    ASSERT_EQ(0, std::memcmp(source.data, target.data, kSize)) << "round " << round;
  }
}

TEST_F(MemoryReachTest, RecordedBeforeTheMemoryWasMapped) {
  Buffer source = MakeHostBuffer(gpu(), kSize);
  Buffer target = MakeHostBuffer(gpu(), kSize);
  vk.UnmapMemory(device, source.memory);
  vk.UnmapMemory(device, target.memory);
  VkCommandBuffer commands = Record([&](VkCommandBuffer recording) {
    FullBarrier(recording);
    CopyBytes(gpu(), recording, source.handle, target.handle, kSize);
    FullBarrier(recording);
  });
  for (uint64_t round = 0; round < 6; ++round) {
    source.data = Map(source.memory);
    Random(round).Fill(source.bytes());
    if (round % 2 == 0) {
      vk.UnmapMemory(device, source.memory);
    }
    target.data = Map(target.memory);
    SubmitAndWait(commands);
    if (round % 2 == 0) {
      source.data = Map(source.memory);
    }
    ASSERT_EQ(0, std::memcmp(source.data, target.data, kSize)) << "round " << round;
    vk.UnmapMemory(device, source.memory);
    vk.UnmapMemory(device, target.memory);
  }
}

TEST_F(MemoryReachTest, AFlushOfOnePartLeavesTheRestOfThePageToTheSubmission) {
  const Buffer buffer = MakeHostBuffer(gpu(), kSize);
  std::vector<uint8_t> expected(kSize);
  ASSERT_EQ(expected, ReadBack(gpu(), buffer.handle, kSize));
  const VkDeviceSize atom = std::max<VkDeviceSize>(64, properties.limits().nonCoherentAtomSize);
  for (uint8_t round = 1; round < 10; ++round) {
    for (const size_t at : {size_t{8192 + 10}, size_t{8192 + 3000}, size_t{70'000}}) {
      buffer.data[at] = expected[at] = round;
    }
    VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
    range.memory = buffer.memory;
    range.offset = 8192;
    range.size = atom;
    ASSERT_EQ(VK_SUCCESS, vk.FlushMappedMemoryRanges(device, 1, &range));
    ASSERT_EQ(expected, ReadBack(gpu(), buffer.handle, kSize)) << "round " << int{round};
  }
}

TEST_F(MemoryReachTest, AFlushOfNewMemoryLeavesTheRestToTheSubmission) {
  // The same before anything else has ever looked at the memory.
  const VkDeviceSize atom = std::max<VkDeviceSize>(64, properties.limits().nonCoherentAtomSize);
  for (uint8_t round = 1; round < 5; ++round) {
    const Buffer buffer = MakeHostBufferInType(gpu(), kSize, kTransferUsage, HostType(~0u));
    std::vector<uint8_t> expected(kSize);
    std::memset(buffer.data, 0, kSize);
    for (const size_t at : {size_t{10}, size_t{5000}, size_t{9000}, size_t{70'000}}) {
      buffer.data[at] = expected[at] = round;
    }
    VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
    range.memory = buffer.memory;
    range.offset = 4096;
    range.size = 4096 / atom * atom;
    ASSERT_EQ(VK_SUCCESS, vk.FlushMappedMemoryRanges(device, 1, &range));
    ASSERT_EQ(expected, ReadBack(gpu(), buffer.handle, kSize)) << "round " << int{round};
  }
}

// Memory that the device only reads, and a view of it by the GPU after each submission.
class MemoryUploadTest : public MemoryReachTest {
 protected:
  void SetUp() override {
    MemoryReachTest::SetUp();
    upload_ = MakeHostBufferInType(gpu(), kSize, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, HostType(~0u));
    std::memset(upload_.data, 0, kSize);
    witness_ = MakeHostBuffer(gpu(), kSize);
    copy_ = Record([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      CopyBytes(gpu(), commands, upload_.handle, witness_.handle, kSize);
      FullBarrier(commands);
    });
  }

  void ExpectSeen(const std::string& when) {
    SubmitAndWait(copy_);
    ASSERT_EQ(0, std::memcmp(upload_.data, witness_.data, kSize)) << when;
  }

  Buffer upload_;
  Buffer witness_;
  VkCommandBuffer copy_ = VK_NULL_HANDLE;
};

TEST_F(MemoryUploadTest, PagesTurnedBackToZero) {
  for (int round = 0; round < 6; ++round) {
    Random(static_cast<uint64_t>(round)).Fill(upload_.bytes());
    ExpectSeen("filled");
    std::memset(upload_.data + 4096 * round, 0, 40'000);
    ExpectSeen("a part is zero");
    std::memset(upload_.data, 0, kSize);
    ExpectSeen("all is zero");
  }
}

TEST_F(MemoryUploadTest, HotForAWhileQuietForAWhile) {
  // All pages in each submission, then hardly any, then none; and then all again.
  Random random(9);
  for (int phase = 0; phase < 6; ++phase) {
    for (int round = 0; round < 40; ++round) {
      if (phase % 3 == 0) {
        for (size_t page = 0; page < kSize; page += 4096) {
          upload_.data[page + random.Below(4096)] = static_cast<uint8_t>(random.Next());
        }
      } else if (phase % 3 == 1 && round % 8 == 0) {
        upload_.data[random.Below(kSize)] = static_cast<uint8_t>(random.Next());
      }
      ExpectSeen("phase " + std::to_string(phase) + ", round " + std::to_string(round));
    }
  }
}

TEST_F(MemoryUploadTest, BoundForWritingWhenMuchWasSentAlready) {
  // Until the second buffer comes nobody but the program writes. Then both do, side by side.
  Random random(10);
  random.Fill(upload_.bytes());
  ExpectSeen("at first");
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = kSize;
  info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  const Owned<VkBuffer> second = Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  ASSERT_EQ(VK_SUCCESS, vk.BindBufferMemory(device, second, upload_.memory, 0));
  std::vector<uint8_t> expected(upload_.data, upload_.data + kSize);
  for (uint32_t round = 1; round < 12; ++round) {
    const VkDeviceSize line = random.Below(kSize / 64) * 64;
    VkCommandBuffer fill = Record([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      vk.CmdFillBuffer(commands, second, line, 32, round * 0x01010101);
      FullBarrier(commands);
    });
    Submit(fill);
    // While the GPU is perhaps at work next to it; these go with the next submission.
    for (size_t i = line + 32; i < line + 64; ++i) {
      upload_.data[i] = expected[i] = static_cast<uint8_t>(random.Next());
    }
    Submit(copy_);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    std::memset(&expected[line], static_cast<int>(round), 32);
    ASSERT_EQ(0, std::memcmp(expected.data(), upload_.data, kSize)) << "round " << round;
    ASSERT_EQ(0, std::memcmp(expected.data(), witness_.data, kSize)) << "round " << round;
  }
}

TEST_F(MemoryReachTest, WorkThatDoesNotReachItLeavesItForWorkThatDoes) {
  // Written before a submission about other memory, which may take notice of it or not.
  const Buffer mine = MakeHostBuffer(gpu(), kSize, VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
  const Buffer other = MakeHostBuffer(gpu(), kSize);
  const Buffer witness = MakeDeviceBuffer(gpu(), kSize);
  VkCommandBuffer unrelated = Record([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, other.handle, 0, 4096, 1);
    FullBarrier(commands);
  });
  VkCommandBuffer nothing = Record([](VkCommandBuffer) {});
  VkCommandBuffer copy = Record([&](VkCommandBuffer commands) {
    FullBarrier(commands);
    CopyBytes(gpu(), commands, mine.handle, witness.handle, kSize);
    FullBarrier(commands);
  });
  std::vector<uint8_t> expected(kSize);
  Random random(6);
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 50; ++i) {
      const size_t at = random.Below(kSize);
      mine.data[at] = expected[at] = static_cast<uint8_t>(random.Next());
      if (i % 10 == 0) {
        SubmitAndWait(random.OneIn(2) ? unrelated : nothing);
      }
    }
    SubmitAndWait(copy);
    ASSERT_EQ(expected, ReadBack(gpu(), witness.handle, kSize)) << "round " << round;
  }
}

TEST_F(MemoryReachTest, DevicesOfOneProcessDoNotTakeEachOthersWrites) {
  // Each is told of its own memory by its own calls alone, however many the others make in between.
  std::vector<std::unique_ptr<Gpu>> others;
  for (int i = 0; i < 2; ++i) {
    others.push_back(std::make_unique<Gpu>());
    others.back()->Open();
  }
  std::vector<Gpu*> gpus = {&gpu(), others[0].get(), others[1].get()};
  std::vector<Buffer> buffers;
  std::vector<std::vector<uint8_t>> expected;
  for (Gpu* one : gpus) {
    buffers.push_back(MakeHostBuffer(*one, kSize));
    expected.emplace_back(kSize);
  }
  Random random(7);
  for (int round = 0; round < 30; ++round) {
    for (size_t i = 0; i < gpus.size(); ++i) {
      for (int j = 0; j < 20; ++j) {
        const size_t at = random.Below(kSize);
        buffers[i].data[at] = expected[i][at] = static_cast<uint8_t>(random.Next());
      }
    }
    const size_t turn = random.Below(gpus.size());
    ASSERT_EQ(expected[turn], ReadBack(*gpus[turn], buffers[turn].handle, kSize))
        << "device " << turn << ", round " << round;
  }
  for (size_t i = 0; i < gpus.size(); ++i) {
    ASSERT_EQ(expected[i], ReadBack(*gpus[i], buffers[i].handle, kSize)) << "device " << i;
  }
  // Theirs go before the devices do.
  while (buffers.size() > 1) {
    buffers.pop_back();
  }
}

TEST_F(MemoryReachTest, ThousandMappingsOfWhichAFewAreWritten) {
  constexpr size_t kCount = 1000;
  std::vector<Buffer> buffers;
  for (size_t i = 0; i < kCount; ++i) {
    buffers.push_back(MakeHostBuffer(gpu(), 1000 + i % 7 * 4096));
  }
  Random random(8);
  for (int round = 0; round < 10; ++round) {
    std::vector<std::pair<size_t, size_t>> written;
    for (int i = 0; i < 12; ++i) {
      const size_t buffer = random.Below(kCount);
      const size_t at = random.Below(buffers[buffer].size);
      buffers[buffer].data[at] = static_cast<uint8_t>(random.Next());
      written.emplace_back(buffer, at);
    }
    for (const auto& [buffer, at] : written) {
      const std::vector<uint8_t> seen =
          ReadBack(gpu(), buffers[buffer].handle, buffers[buffer].size);
      ASSERT_EQ(buffers[buffer].data[at], seen[at]) << "buffer " << buffer << ", byte " << at;
    }
  }
}

}  // namespace
}  // namespace vesper::tests
