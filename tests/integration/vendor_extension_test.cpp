// SPDX-License-Identifier: Apache-2.0
// Extensions of single vendors whose commands are not like others.
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class VendorExtensionTest : public ::testing::Test, public Gpu {
 protected:
  void SetUp() override { OpenInstance(); }

  bool OpenWith(const std::vector<const char*>& extensions, void* device_features) {
    for (const char* extension : extensions) {
      if (!HasDeviceExtension(extension)) {
        return false;
      }
    }
    GpuOptions options;
    options.device_extensions = extensions;
    options.device_features = device_features;
    OpenDevice(options);
    return true;
  }
};

TEST_F(VendorExtensionTest, CooperativeVectorMatrixThereAndBack) {
  VkPhysicalDeviceCooperativeVectorFeaturesNV feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_VECTOR_FEATURES_NV};
  feature.cooperativeVector = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_NV_cooperative_vector"}, &feature));
  const auto convert =
      vk.Find<PFN_vkConvertCooperativeVectorMatrixNV>(device, "vkConvertCooperativeVectorMatrixNV");
  // Rows of 32 half floats, 80 bytes apart: 16 bytes of each row are the program's.
  constexpr uint32_t kRows = 16;
  constexpr uint32_t kColumns = 32;
  constexpr size_t kStride = 80;
  std::vector<uint16_t> source(kRows * kStride / 2);
  std::iota(source.begin(), source.end(), uint16_t{0x3c00});  // 1.0 and a bit more each
  size_t size = 0;
  VkConvertCooperativeVectorMatrixInfoNV info{
      VK_STRUCTURE_TYPE_CONVERT_COOPERATIVE_VECTOR_MATRIX_INFO_NV};
  info.srcSize = source.size() * 2;
  info.pDstSize = &size;
  info.srcComponentType = VK_COMPONENT_TYPE_FLOAT16_KHR;
  info.dstComponentType = VK_COMPONENT_TYPE_FLOAT16_KHR;
  info.numRows = kRows;
  info.numColumns = kColumns;
  info.srcLayout = VK_COOPERATIVE_VECTOR_MATRIX_LAYOUT_ROW_MAJOR_NV;
  info.srcStride = kStride;
  info.dstLayout = VK_COOPERATIVE_VECTOR_MATRIX_LAYOUT_INFERENCING_OPTIMAL_NV;
  ASSERT_EQ(VK_SUCCESS, convert(device, &info));
  ASSERT_GE(size, kRows * kColumns * 2);
  std::vector<uint8_t> optimal(size);
  info.srcData.hostAddress = source.data();
  info.dstData.hostAddress = optimal.data();
  size = 1;
  EXPECT_EQ(VK_INCOMPLETE, convert(device, &info));
  size = optimal.size();
  ASSERT_EQ(VK_SUCCESS, convert(device, &info));

  std::vector<uint16_t> back(source.size(), 0xbeef);
  size = back.size() * 2;
  info.srcSize = optimal.size();
  info.srcData.hostAddress = optimal.data();
  info.dstData.hostAddress = back.data();
  std::swap(info.srcLayout, info.dstLayout);
  info.srcStride = 0;
  info.dstStride = kStride;
  ASSERT_EQ(VK_SUCCESS, convert(device, &info));
  for (uint32_t row = 0; row < kRows; ++row) {
    for (uint32_t column = 0; column < kColumns; ++column) {
      const size_t at = row * kStride / 2 + column;
      ASSERT_EQ(source[at], back[at]) << row << ", " << column;
    }
  }
}

TEST_F(VendorExtensionTest, SizesOfClusters) {
  VkPhysicalDeviceClusterAccelerationStructureFeaturesNV feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_CLUSTER_ACCELERATION_STRUCTURE_FEATURES_NV};
  feature.clusterAccelerationStructure = VK_TRUE;
  VkPhysicalDeviceAccelerationStructureFeaturesKHR structures{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ACCELERATION_STRUCTURE_FEATURES_KHR, &feature};
  structures.accelerationStructure = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_KHR_deferred_host_operations", "VK_KHR_acceleration_structure",
                           "VK_NV_cluster_acceleration_structure"},
                          &structures));
  const auto get_sizes = vk.Find<PFN_vkGetClusterAccelerationStructureBuildSizesNV>(
      device, "vkGetClusterAccelerationStructureBuildSizesNV");
  VkClusterAccelerationStructureTriangleClusterInputNV triangles{
      VK_STRUCTURE_TYPE_CLUSTER_ACCELERATION_STRUCTURE_TRIANGLE_CLUSTER_INPUT_NV};
  triangles.vertexFormat = VK_FORMAT_R32G32B32_SFLOAT;
  triangles.maxClusterUniqueGeometryCount = 1;
  triangles.maxClusterTriangleCount = 32;
  triangles.maxClusterVertexCount = 32;
  triangles.maxTotalTriangleCount = 32;
  triangles.maxTotalVertexCount = 32;
  VkClusterAccelerationStructureInputInfoNV input{
      VK_STRUCTURE_TYPE_CLUSTER_ACCELERATION_STRUCTURE_INPUT_INFO_NV};
  input.maxAccelerationStructureCount = 1;
  input.opType = VK_CLUSTER_ACCELERATION_STRUCTURE_OP_TYPE_BUILD_TRIANGLE_CLUSTER_NV;
  input.opMode = VK_CLUSTER_ACCELERATION_STRUCTURE_OP_MODE_IMPLICIT_DESTINATIONS_NV;
  input.opInput.pTriangleClusters = &triangles;
  VkAccelerationStructureBuildSizesInfoKHR one{
      VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_BUILD_SIZES_INFO_KHR};
  get_sizes(device, &input, &one);
  EXPECT_GT(one.accelerationStructureSize, 0u);
  // More of them take more: the struct behind the union's pointer has arrived.
  input.maxAccelerationStructureCount = 64;
  triangles.maxTotalTriangleCount = 64 * 32;
  triangles.maxTotalVertexCount = 64 * 32;
  VkAccelerationStructureBuildSizesInfoKHR many{
      VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_BUILD_SIZES_INFO_KHR};
  get_sizes(device, &input, &many);
  EXPECT_GT(many.accelerationStructureSize, one.accelerationStructureSize);
}

TEST_F(VendorExtensionTest, CheckpointsAreNotFollowed) {
  VESPER_REQUIRE(OpenWith({"VK_NV_device_diagnostic_checkpoints"}, nullptr));
  const auto set = vk.Find<PFN_vkCmdSetCheckpointNV>(device, "vkCmdSetCheckpointNV");
  Execute([&](VkCommandBuffer commands) {
    set(commands, reinterpret_cast<const void*>(uintptr_t{0x1234}));  // leads nowhere
  });
  EXPECT_EQ(VK_SUCCESS, vk.DeviceWaitIdle(device));
}

}  // namespace
}  // namespace vesper::tests
