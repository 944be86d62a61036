// SPDX-License-Identifier: Apache-2.0
// Extensions whose commands are not just carried: clocks, locks, faults, and what is behind
// pointers that the registry does not describe.
#include <time.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "client_icd/device.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

using testing::ElementsAre;

class Extension : public WireTest {
 protected:
  void SetUp() override { Open(); }
};

// -- calibrated timestamps ------------------------------------------------------------------------

uint64_t Now(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

TEST_F(Extension, TimeDomainsAreTheDevicesAndTheGuests) {
  mock_.On(number::vkGetPhysicalDeviceCalibrateableTimeDomainsKHR, [](void* args) {
    auto& a = *static_cast<proto::Args_vkGetPhysicalDeviceCalibrateableTimeDomainsKHR*>(args);
    const VkTimeDomainKHR domains[] = {VK_TIME_DOMAIN_DEVICE_KHR,
                                       VK_TIME_DOMAIN_QUERY_PERFORMANCE_COUNTER_KHR,
                                       VK_TIME_DOMAIN_CLOCK_MONOTONIC_RAW_KHR};
    if (a.pTimeDomains != nullptr) {
      std::copy_n(domains, *a.pTimeDomainCount, a.pTimeDomains);
    }
    *a.pTimeDomainCount = 3;
  });
  uint32_t count = 0;
  ASSERT_EQ(vk::vkGetPhysicalDeviceCalibrateableTimeDomainsKHR(physical_device_, &count, nullptr),
            VK_SUCCESS);
  ASSERT_EQ(count, 2u);
  std::vector<VkTimeDomainKHR> domains(count);
  ASSERT_EQ(
      vk::vkGetPhysicalDeviceCalibrateableTimeDomainsKHR(physical_device_, &count, domains.data()),
      VK_SUCCESS);
  EXPECT_THAT(domains,
              ElementsAre(VK_TIME_DOMAIN_DEVICE_KHR, VK_TIME_DOMAIN_CLOCK_MONOTONIC_RAW_KHR));
  count = 1;
  EXPECT_EQ(
      vk::vkGetPhysicalDeviceCalibrateableTimeDomainsKHR(physical_device_, &count, domains.data()),
      VK_INCOMPLETE);
  EXPECT_EQ(count, 1u);
}

constexpr VkCalibratedTimestampInfoKHR Domain(VkTimeDomainKHR domain) {
  return {VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_KHR, nullptr, domain};
}

TEST_F(Extension, CalibrationAsksTheHostForTheDeviceAlone) {
  uint64_t driver_read = 0;
  mock_.On(number::vkGetCalibratedTimestampsKHR, [&](void* args) {
    auto& a = *static_cast<proto::Args_vkGetCalibratedTimestampsKHR*>(args);
    driver_read = Now(CLOCK_MONOTONIC);
    a.pTimestamps[0] = 123456;
    *a.pMaxDeviation = 1000;
  });
  const VkCalibratedTimestampInfoKHR infos[] = {Domain(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR),
                                                Domain(VK_TIME_DOMAIN_DEVICE_KHR),
                                                Domain(VK_TIME_DOMAIN_CLOCK_MONOTONIC_RAW_KHR)};
  std::array<uint64_t, 3> times{};
  uint64_t deviation = 0;
  const uint64_t before = Now(CLOCK_MONOTONIC);
  const uint64_t raw_before = Now(CLOCK_MONOTONIC_RAW);
  ASSERT_EQ(vk::vkGetCalibratedTimestampsKHR(device_, 3, infos, times.data(), &deviation),
            VK_SUCCESS);
  const uint64_t after = Now(CLOCK_MONOTONIC);
  EXPECT_EQ(times[1], 123456u);
  EXPECT_GT(times[0], before);
  EXPECT_LT(times[0], after);
  EXPECT_GT(times[2], raw_before);
  EXPECT_LT(times[2], Now(CLOCK_MONOTONIC_RAW));
  // It covers the driver's own deviation and where in the round trip the device was read.
  const uint64_t distance =
      times[0] > driver_read ? times[0] - driver_read : driver_read - times[0];
  EXPECT_GE(deviation, 1000 + distance);
  EXPECT_LE(deviation, 1000 + (after - before) + 1);
  const auto& asked =
      Arguments<proto::Args_vkGetCalibratedTimestampsKHR>("vkGetCalibratedTimestampsKHR");
  ASSERT_EQ(asked.timestampCount, 1u);
  EXPECT_EQ(asked.pTimestampInfos[0].timeDomain, VK_TIME_DOMAIN_DEVICE_KHR);
}

TEST_F(Extension, TheGuestsClocksNeedNoHost) {
  const VkCalibratedTimestampInfoKHR infos[] = {Domain(VK_TIME_DOMAIN_CLOCK_MONOTONIC_RAW_KHR),
                                                Domain(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR)};
  std::array<uint64_t, 2> times{};
  uint64_t deviation = 0;
  ASSERT_EQ(vk::vkGetCalibratedTimestampsKHR(device_, 2, infos, times.data(), &deviation),
            VK_SUCCESS);
  EXPECT_GT(times[0], 0u);
  EXPECT_GT(times[1], 0u);
  EXPECT_GT(deviation, 0u);
  EXPECT_EQ(mock_.Count("vkGetCalibratedTimestampsKHR"), 0u);
}

TEST_F(Extension, AFailedCalibrationIsReported) {
  mock_.FailNext(number::vkGetCalibratedTimestampsKHR, VK_ERROR_OUT_OF_HOST_MEMORY);
  const VkCalibratedTimestampInfoKHR info = Domain(VK_TIME_DOMAIN_DEVICE_KHR);
  uint64_t time = 0;
  uint64_t deviation = 0;
  EXPECT_EQ(vk::vkGetCalibratedTimestampsKHR(device_, 1, &info, &time, &deviation),
            VK_ERROR_OUT_OF_HOST_MEMORY);
}

TEST_F(Extension, TheHostsClocksAreNotToBeHad) {
  host_may_complain_ = true;
  const VkCalibratedTimestampInfoKHR info = Domain(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR);
  uint64_t time = 0;
  uint64_t deviation = 0;
  proto::Args_vkGetCalibratedTimestampsKHR args{device_, 1, &info, &time, &deviation};
  client::Session& session = client::Device::From(device_).session();
  EXPECT_FALSE(session.Call(number::vkGetCalibratedTimestampsKHR, &args));
  EXPECT_EQ(mock_.Count("vkGetCalibratedTimestampsKHR"), 0u);
}

// -- faults ---------------------------------------------------------------------------------------

TEST_F(Extension, FaultsOfALostDevice) {
  mock_.LoseDevice();
  Submit(VK_NULL_HANDLE, VK_NULL_HANDLE);
  ASSERT_EQ(vk::vkDeviceWaitIdle(device_), VK_ERROR_DEVICE_LOST);
  VkDeviceFaultCountsEXT counts{VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT};
  ASSERT_EQ(vk::vkGetDeviceFaultInfoEXT(device_, &counts, nullptr), VK_SUCCESS);
  EXPECT_EQ(counts.addressInfoCount, 2u);
  EXPECT_EQ(counts.vendorInfoCount, 1u);
  EXPECT_EQ(counts.vendorBinarySize, 3u);

  VkDeviceFaultAddressInfoEXT addresses[3] = {};
  VkDeviceFaultVendorInfoEXT word{};
  std::string bytes = "...";
  VkDeviceFaultInfoEXT info{VK_STRUCTURE_TYPE_DEVICE_FAULT_INFO_EXT};
  info.pAddressInfos = addresses;
  info.pVendorInfos = &word;
  info.pVendorBinaryData = bytes.data();
  ASSERT_EQ(vk::vkGetDeviceFaultInfoEXT(device_, &counts, &info), VK_SUCCESS);
  EXPECT_STREQ(info.description, "the mock was lost");
  EXPECT_EQ(addresses[1].reportedAddress, 0x2000u);
  EXPECT_STREQ(word.description, "a word");
  EXPECT_EQ(word.vendorFaultData, 8u);
  EXPECT_EQ(bytes, "xyz");

  // Less room, and more.
  addresses[1] = {};
  bytes = "...";
  counts = {VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT, nullptr, 1, 1, 2};
  EXPECT_EQ(vk::vkGetDeviceFaultInfoEXT(device_, &counts, &info), VK_INCOMPLETE);
  EXPECT_EQ(counts.addressInfoCount, 1u);
  EXPECT_EQ(counts.vendorBinarySize, 2u);
  EXPECT_EQ(addresses[1].reportedAddress, 0u);
  EXPECT_EQ(bytes, "xy.");
  counts = {VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT, nullptr, 3, 1, 3};
  EXPECT_EQ(vk::vkGetDeviceFaultInfoEXT(device_, &counts, &info), VK_SUCCESS);
  EXPECT_EQ(counts.addressInfoCount, 2u);
}

TEST_F(Extension, MarkersAreValues) {
  VkCommandBuffer buffer = Begin();
  vk::vkCmdSetCheckpointNV(buffer, reinterpret_cast<const void*>(uintptr_t{0xdeadbeef}));
  ASSERT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  Sync();
  EXPECT_EQ(Arguments<proto::Args_vkCmdSetCheckpointNV>("vkCmdSetCheckpointNV").pCheckpointMarker,
            reinterpret_cast<const void*>(uintptr_t{0xdeadbeef}));
  mock_.On(number::vkGetQueueCheckpointDataNV, [](void* args) {
    auto& a = *static_cast<proto::Args_vkGetQueueCheckpointDataNV*>(args);
    *a.pCheckpointDataCount = 1;
    if (a.pCheckpointData != nullptr) {
      a.pCheckpointData[0].stage = VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT;
      a.pCheckpointData[0].pCheckpointMarker = reinterpret_cast<void*>(uintptr_t{0xdeadbeef});
    }
  });
  uint32_t count = 0;
  vk::vkGetQueueCheckpointDataNV(queue_, &count, nullptr);
  ASSERT_EQ(count, 1u);
  VkCheckpointDataNV data{VK_STRUCTURE_TYPE_CHECKPOINT_DATA_NV};
  vk::vkGetQueueCheckpointDataNV(queue_, &count, &data);
  EXPECT_EQ(data.pCheckpointMarker, reinterpret_cast<void*>(uintptr_t{0xdeadbeef}));
  EXPECT_EQ(data.stage, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT);
}

// -- performance queries --------------------------------------------------------------------------

TEST_F(Extension, TheProfilingLockIsTriedAndNeverWaitedFor) {
  int tries = 0;
  mock_.On(number::vkAcquireProfilingLockKHR, [&](void* args) {
    auto& a = *static_cast<proto::Args_vkAcquireProfilingLockKHR*>(args);
    EXPECT_EQ(a.pInfo->timeout, 0u);
    a.ret = ++tries < 4 ? VK_TIMEOUT : VK_SUCCESS;
  });
  VkAcquireProfilingLockInfoKHR info{VK_STRUCTURE_TYPE_ACQUIRE_PROFILING_LOCK_INFO_KHR, nullptr, 0,
                                     UINT64_MAX};
  EXPECT_EQ(vk::vkAcquireProfilingLockKHR(device_, &info), VK_SUCCESS);
  EXPECT_EQ(tries, 4);
  tries = -1000;
  info.timeout = 20'000'000;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(vk::vkAcquireProfilingLockKHR(device_, &info), VK_TIMEOUT);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(20));
  EXPECT_GT(tries, -999) << "tried more than once";
  tries = -1000;
  info.timeout = 0;
  EXPECT_EQ(vk::vkAcquireProfilingLockKHR(device_, &info), VK_TIMEOUT);
  EXPECT_EQ(tries, -999);
  mock_.Clear();
  vk::vkReleaseProfilingLockKHR(device_);
  EXPECT_THAT(Calls(), ElementsAre("vkReleaseProfilingLockKHR"));
}

class PerformanceQueries : public Extension {
 protected:
  void SetUp() override {
    Extension::SetUp();
    mock_.On(
        number::vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR, [](void* args) {
          using Args = proto::Args_vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR;
          auto& a = *static_cast<Args*>(args);
          const uint32_t count = a.pCounters == nullptr && a.pCounterDescriptions == nullptr
                                     ? kCounters
                                     : std::min(*a.pCounterCount, kCounters);
          for (uint32_t i = 0; i < count; ++i) {
            if (a.pCounters != nullptr) {
              a.pCounters[i].uuid[0] = static_cast<uint8_t>(i);
            }
            if (a.pCounterDescriptions != nullptr) {
              std::snprintf(a.pCounterDescriptions[i].name, VK_MAX_DESCRIPTION_SIZE, "counter %u",
                            i);
            }
          }
          a.ret = count < kCounters ? VK_INCOMPLETE : VK_SUCCESS;
          *a.pCounterCount = count;
        });
  }

  static constexpr uint32_t kCounters = 100;
};

TEST_F(PerformanceQueries, TwoArraysShareOneCount) {
  uint32_t count = 0;
  const auto enumerate = vk::vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR;
  ASSERT_EQ(enumerate(physical_device_, 0, &count, nullptr, nullptr), VK_SUCCESS);
  ASSERT_EQ(count, kCounters);
  std::vector<VkPerformanceCounterKHR> counters(count, {VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_KHR});
  std::vector<VkPerformanceCounterDescriptionKHR> descriptions(
      count, {VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_DESCRIPTION_KHR});
  ASSERT_EQ(enumerate(physical_device_, 0, &count, counters.data(), descriptions.data()),
            VK_SUCCESS);
  EXPECT_EQ(counters[99].uuid[0], 99);
  EXPECT_STREQ(descriptions[99].name, "counter 99");
  counters[5].uuid[0] = 200;
  count = 5;
  EXPECT_EQ(enumerate(physical_device_, 0, &count, counters.data(), nullptr), VK_INCOMPLETE);
  EXPECT_EQ(count, 5u);
  EXPECT_EQ(counters[5].uuid[0], 200) << "beyond the room that was given";
}

TEST_F(PerformanceQueries, ResultsOfManyCountersFit) {
  std::vector<uint32_t> indices(kCounters);
  for (uint32_t i = 0; i < kCounters; ++i) {
    indices[i] = i;
  }
  const VkQueryPoolPerformanceCreateInfoKHR counters{
      VK_STRUCTURE_TYPE_QUERY_POOL_PERFORMANCE_CREATE_INFO_KHR, nullptr, 0, kCounters,
      indices.data()};
  uint32_t passes = 0;
  vk::vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR(physical_device_, &counters, &passes);
  const VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, &counters, 0,
                                   VK_QUERY_TYPE_PERFORMANCE_QUERY_KHR, 1};
  VkQueryPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateQueryPool(device_, &info, nullptr, &pool), VK_SUCCESS);
  size_t room = 0;
  mock_.On(number::vkGetQueryPoolResults, [&](void* args) {
    auto& a = *static_cast<proto::Args_vkGetQueryPoolResults*>(args);
    room = a.dataSize;
    std::memset(a.pData, 0x11, kCounters * sizeof(VkPerformanceCounterResultKHR));
  });
  // Less than a driver writes: it must not reach past what the worker has.
  uint64_t results[2] = {};
  EXPECT_EQ(vk::vkGetQueryPoolResults(device_, pool, 0, 1, 8, results, 8, 0), VK_SUCCESS);
  EXPECT_GE(room, kCounters * sizeof(VkPerformanceCounterResultKHR));
  EXPECT_EQ(results[0], 0x1111111111111111u);
  EXPECT_EQ(results[1], 0u);
  vk::vkDestroyQueryPool(device_, pool, nullptr);
}

TEST_F(PerformanceQueries, CountersBeyondTheDriversEndTheSession) {
  host_may_complain_ = true;
  const uint32_t index = kCounters;
  const VkQueryPoolPerformanceCreateInfoKHR counters{
      VK_STRUCTURE_TYPE_QUERY_POOL_PERFORMANCE_CREATE_INFO_KHR, nullptr, 0, 1, &index};
  uint32_t passes = 0;
  vk::vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR(physical_device_, &counters, &passes);
  EXPECT_EQ(mock_.Count("vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR"), 0u);
  EXPECT_EQ(vk::vkDeviceWaitIdle(device_), VK_ERROR_DEVICE_LOST);
}

// -- cooperative vectors --------------------------------------------------------------------------

TEST_F(Extension, CooperativeVectorMatricesInTheProgramsMemory) {
  // Two rows of three bytes, five bytes apart.
  const std::string source = "abc..def";
  size_t size = 0;
  VkConvertCooperativeVectorMatrixInfoNV info{
      VK_STRUCTURE_TYPE_CONVERT_COOPERATIVE_VECTOR_MATRIX_INFO_NV};
  info.srcSize = source.size();
  info.pDstSize = &size;
  info.srcComponentType = VK_COMPONENT_TYPE_SINT8_KHR;
  info.dstComponentType = VK_COMPONENT_TYPE_SINT8_KHR;
  info.numRows = 2;
  info.numColumns = 3;
  info.srcLayout = VK_COOPERATIVE_VECTOR_MATRIX_LAYOUT_ROW_MAJOR_NV;
  info.srcStride = 5;
  info.dstLayout = VK_COOPERATIVE_VECTOR_MATRIX_LAYOUT_INFERENCING_OPTIMAL_NV;
  ASSERT_EQ(vk::vkConvertCooperativeVectorMatrixNV(device_, &info), VK_SUCCESS);
  EXPECT_EQ(size, 10u);
  std::string target(12, '-');
  info.srcData.hostAddress = source.data();
  info.dstData.hostAddress = target.data();
  size = 9;
  EXPECT_EQ(vk::vkConvertCooperativeVectorMatrixNV(device_, &info), VK_INCOMPLETE);
  EXPECT_EQ(target, "------------");
  size = 12;
  EXPECT_EQ(vk::vkConvertCooperativeVectorMatrixNV(device_, &info), VK_SUCCESS);
  EXPECT_EQ(size, 10u);
  EXPECT_EQ(target, "abcdef------") << "what the driver leaves alone stays the program's";

  // A shape that reaches past the source finds memory of the worker's own.
  info.numRows = 1000;
  target.resize(4000, '-');
  info.dstData.hostAddress = target.data();
  size = target.size();
  EXPECT_EQ(vk::vkConvertCooperativeVectorMatrixNV(device_, &info), VK_SUCCESS);
  EXPECT_EQ(target.substr(0, 6), "abcdef");
  EXPECT_EQ(size, 3004u);
}

TEST_F(Extension, AMatrixLargerThanMemoryEndsTheSession) {
  host_may_complain_ = true;
  const std::string source = "abc";
  std::string target(8, '-');
  size_t size = target.size();
  VkConvertCooperativeVectorMatrixInfoNV info{
      VK_STRUCTURE_TYPE_CONVERT_COOPERATIVE_VECTOR_MATRIX_INFO_NV};
  info.srcSize = source.size();
  info.srcData.hostAddress = source.data();
  info.pDstSize = &size;
  info.dstData.hostAddress = target.data();
  info.srcComponentType = VK_COMPONENT_TYPE_FLOAT16_KHR;
  info.dstComponentType = VK_COMPONENT_TYPE_FLOAT16_KHR;
  info.numRows = UINT32_MAX;
  info.numColumns = UINT32_MAX;
  info.srcStride = SIZE_MAX / 2;
  EXPECT_LT(vk::vkConvertCooperativeVectorMatrixNV(device_, &info), 0);
  EXPECT_EQ(size, 0u);
  EXPECT_EQ(mock_.Count("vkConvertCooperativeVectorMatrixNV"), 0u);
}

TEST_F(Extension, CooperativeVectorMatricesOnTheDevice) {
  size_t size = 77;
  VkConvertCooperativeVectorMatrixInfoNV info{
      VK_STRUCTURE_TYPE_CONVERT_COOPERATIVE_VECTOR_MATRIX_INFO_NV};
  info.srcData.deviceAddress = 0x100000;
  info.dstData.deviceAddress = 0x200000;
  info.pDstSize = &size;
  VkCommandBuffer buffer = Begin();
  vk::vkCmdConvertCooperativeVectorMatrixNV(buffer, 1, &info);
  ASSERT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  Sync();
  const auto& args = Arguments<proto::Args_vkCmdConvertCooperativeVectorMatrixNV>(
      "vkCmdConvertCooperativeVectorMatrixNV");
  EXPECT_EQ(args.pInfos[0].srcData.deviceAddress, 0x100000u);
  EXPECT_EQ(args.pInfos[0].dstData.deviceAddress, 0x200000u);
  EXPECT_EQ(*args.pInfos[0].pDstSize, 77u);
}

// -- acceleration structures of clusters and partitions -------------------------------------------

TEST_F(Extension, ClustersByTheKindOfTheirInput) {
  VkClusterAccelerationStructureTriangleClusterInputNV triangles{
      VK_STRUCTURE_TYPE_CLUSTER_ACCELERATION_STRUCTURE_TRIANGLE_CLUSTER_INPUT_NV};
  triangles.maxTotalTriangleCount = 64;
  VkClusterAccelerationStructureMoveObjectsInputNV moves{
      VK_STRUCTURE_TYPE_CLUSTER_ACCELERATION_STRUCTURE_MOVE_OBJECTS_INPUT_NV};
  moves.maxMovedBytes = 4096;
  VkClusterAccelerationStructureCommandsInfoNV commands{
      VK_STRUCTURE_TYPE_CLUSTER_ACCELERATION_STRUCTURE_COMMANDS_INFO_NV};
  commands.input.sType = VK_STRUCTURE_TYPE_CLUSTER_ACCELERATION_STRUCTURE_INPUT_INFO_NV;
  commands.input.opType = VK_CLUSTER_ACCELERATION_STRUCTURE_OP_TYPE_BUILD_TRIANGLE_CLUSTER_NV;
  commands.input.opInput.pTriangleClusters = &triangles;
  commands.scratchData = 0x3000;
  VkCommandBuffer buffer = Begin();
  vk::vkCmdBuildClusterAccelerationStructureIndirectNV(buffer, &commands);
  commands.input.opType = VK_CLUSTER_ACCELERATION_STRUCTURE_OP_TYPE_MOVE_OBJECTS_NV;
  commands.input.opInput.pMoveObjects = &moves;
  vk::vkCmdBuildClusterAccelerationStructureIndirectNV(buffer, &commands);
  ASSERT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  Sync();
  const std::string name = "vkCmdBuildClusterAccelerationStructureIndirectNV";
  using Args = proto::Args_vkCmdBuildClusterAccelerationStructureIndirectNV;
  const auto& first = *Arguments<Args>(name, 0).pCommandInfos;
  EXPECT_EQ(first.scratchData, 0x3000u);
  ASSERT_NE(first.input.opInput.pTriangleClusters, nullptr);
  EXPECT_EQ(first.input.opInput.pTriangleClusters->maxTotalTriangleCount, 64u);
  const auto& second = *Arguments<Args>(name, 1).pCommandInfos;
  ASSERT_NE(second.input.opInput.pMoveObjects, nullptr);
  EXPECT_EQ(second.input.opInput.pMoveObjects->maxMovedBytes, 4096u);
}

TEST_F(Extension, PartitionedStructuresInDescriptors) {
  // Through a template, where the addresses lie in the program's own layout.
  struct Data {
    uint64_t skipped;
    VkDeviceAddress address;
  };
  const Data data[] = {{1, 0x7000}, {2, 0x8000}};
  const VkDescriptorSetLayoutBinding binding{
      0, VK_DESCRIPTOR_TYPE_PARTITIONED_ACCELERATION_STRUCTURE_NV, 2, VK_SHADER_STAGE_ALL, nullptr};
  const VkDescriptorSetLayoutCreateInfo layout_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, 1, &binding};
  VkDescriptorSetLayout layout = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorSetLayout(device_, &layout_info, nullptr, &layout), VK_SUCCESS);
  const VkDescriptorPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr,
                                             0, 1};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorPool(device_, &pool_info, nullptr, &pool), VK_SUCCESS);
  const VkDescriptorSetAllocateInfo allocate{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                             nullptr, pool, 1, &layout};
  VkDescriptorSet set = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkAllocateDescriptorSets(device_, &allocate, &set), VK_SUCCESS);
  const VkDescriptorUpdateTemplateEntry entry{
      0, 0, 2, binding.descriptorType, offsetof(Data, address), sizeof(Data)};
  VkDescriptorUpdateTemplateCreateInfo info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO};
  info.descriptorUpdateEntryCount = 1;
  info.pDescriptorUpdateEntries = &entry;
  VkDescriptorUpdateTemplate update = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateDescriptorUpdateTemplate(device_, &info, nullptr, &update), VK_SUCCESS);
  vk::vkUpdateDescriptorSetWithTemplate(device_, set, update, data);
  Sync();
  const auto& args = Arguments<proto::Args_vkUpdateDescriptorSets>("vkUpdateDescriptorSets");
  ASSERT_EQ(args.descriptorWriteCount, 1u);
  const auto* structures =
      static_cast<const VkWriteDescriptorSetPartitionedAccelerationStructureNV*>(
          args.pDescriptorWrites[0].pNext);
  ASSERT_NE(structures, nullptr);
  ASSERT_EQ(structures->accelerationStructureCount, 2u);
  EXPECT_EQ(structures->pAccelerationStructures[1], 0x8000u);
  vk::vkDestroyDescriptorUpdateTemplate(device_, update, nullptr);
  vk::vkDestroyDescriptorPool(device_, pool, nullptr);
  vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);

  // And as a descriptor of its own, whose address the union must not lose.
  VkDescriptorGetInfoEXT get{VK_STRUCTURE_TYPE_DESCRIPTOR_GET_INFO_EXT};
  get.type = VK_DESCRIPTOR_TYPE_PARTITIONED_ACCELERATION_STRUCTURE_NV;
  get.data.accelerationStructure = 0x9000;
  uint64_t descriptor = 0;
  vk::vkGetDescriptorEXT(device_, &get, sizeof(descriptor), &descriptor);
  EXPECT_EQ(Arguments<proto::Args_vkGetDescriptorEXT>("vkGetDescriptorEXT")
                .pDescriptorInfo->data.accelerationStructure,
            0x9000u);
}

}  // namespace
}  // namespace vesper::tests
