// SPDX-License-Identifier: Apache-2.0
// Acceleration structures and ray tracing (extensions): geometry in unions, arrays of arrays,
// device addresses inside mapped memory, shader groups' handles.
#include <cstdint>
#include <cstring>

#include "shaders/ray_query_comp.h"
#include "shaders/trace_rchit.h"
#include "shaders/trace_rgen.h"
#include "shaders/trace_rmiss.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr uint32_t kNothing = 1000;  // What the shaders write where a ray meets nothing.

class RayTracingTest : public VulkanTest {
 protected:
  void Configure(GpuOptions& options) override {
    offered_ = HasDeviceExtension("VK_KHR_acceleration_structure") &&
               HasDeviceExtension("VK_KHR_ray_tracing_pipeline");
    if (!offered_) {
      return;
    }
    options.device_extensions = {"VK_KHR_acceleration_structure", "VK_KHR_ray_tracing_pipeline",
                                 "VK_KHR_deferred_host_operations"};
    structure_features_.accelerationStructure = VK_TRUE;
    structure_features_.pNext = &pipeline_features_;
    pipeline_features_.rayTracingPipeline = VK_TRUE;
    offers_queries_ = HasDeviceExtension("VK_KHR_ray_query");
    if (offers_queries_) {
      options.device_extensions.push_back("VK_KHR_ray_query");
      pipeline_features_.pNext = &query_features_;
      query_features_.rayQuery = VK_TRUE;
    }
    options.device_features = &structure_features_;
  }

  void SetUp() override {
    VulkanTest::SetUp();
    VESPER_REQUIRE(offered_);
    create_ =
        vk.Find<PFN_vkCreateAccelerationStructureKHR>(device, "vkCreateAccelerationStructureKHR");
    destroy_ =
        vk.Find<PFN_vkDestroyAccelerationStructureKHR>(device, "vkDestroyAccelerationStructureKHR");
    sizes_ = vk.Find<PFN_vkGetAccelerationStructureBuildSizesKHR>(
        device, "vkGetAccelerationStructureBuildSizesKHR");
    build_ = vk.Find<PFN_vkCmdBuildAccelerationStructuresKHR>(
        device, "vkCmdBuildAccelerationStructuresKHR");
    structure_address_ = vk.Find<PFN_vkGetAccelerationStructureDeviceAddressKHR>(
        device, "vkGetAccelerationStructureDeviceAddressKHR");
    ASSERT_TRUE(create_ != nullptr && destroy_ != nullptr && sizes_ != nullptr &&
                build_ != nullptr && structure_address_ != nullptr);
    results_ = MakeHostBuffer(gpu(), 64 * sizeof(uint32_t));
    MakeScene();
  }

  VkDeviceAddress AddressOf(const Buffer& buffer) {
    VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
    info.buffer = buffer.handle;
    return vk.GetBufferDeviceAddress(device, &info);
  }

  struct Structure {
    Buffer buffer;
    Owned<VkAccelerationStructureKHR> handle;
  };

  // A structure of several geometries; counts[i] is the number of primitives of the i-th.
  Structure Build(VkAccelerationStructureTypeKHR type,
                  std::span<const VkAccelerationStructureGeometryKHR> geometries,
                  std::span<const uint32_t> counts) {
    VkAccelerationStructureBuildGeometryInfoKHR info{
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_BUILD_GEOMETRY_INFO_KHR};
    info.type = type;
    info.mode = VK_BUILD_ACCELERATION_STRUCTURE_MODE_BUILD_KHR;
    info.geometryCount = static_cast<uint32_t>(geometries.size());
    info.pGeometries = geometries.data();
    VkAccelerationStructureBuildSizesInfoKHR sizes{
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_BUILD_SIZES_INFO_KHR};
    sizes_(device, VK_ACCELERATION_STRUCTURE_BUILD_TYPE_DEVICE_KHR, &info, counts.data(), &sizes);
    EXPECT_GT(sizes.accelerationStructureSize, 0u);
    Structure structure;
    structure.buffer = MakeDeviceBuffer(gpu(), sizes.accelerationStructureSize,
                                        VK_BUFFER_USAGE_ACCELERATION_STRUCTURE_STORAGE_BIT_KHR |
                                            VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
    VkAccelerationStructureCreateInfoKHR create{
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_KHR};
    create.buffer = structure.buffer.handle;
    create.size = sizes.accelerationStructureSize;
    create.type = type;
    structure.handle = Make(create_, destroy_, create);
    const Buffer scratch = MakeDeviceBuffer(
        gpu(), std::max<VkDeviceSize>(sizes.buildScratchSize, 256),
        VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
    info.dstAccelerationStructure = structure.handle;
    info.scratchData.deviceAddress = AddressOf(scratch);
    std::vector<VkAccelerationStructureBuildRangeInfoKHR> ranges;
    for (const uint32_t count : counts) {
      ranges.push_back({count, 0, 0, 0});
    }
    const VkAccelerationStructureBuildRangeInfoKHR* range_list = ranges.data();
    Execute([&](VkCommandBuffer commands) { build_(commands, 1, &info, &range_list); });
    return structure;
  }

  // Two triangles as two geometries, and two instances of them: the lower left half of the unit
  // square with number 7, and far off to the right with number 8.
  void MakeScene() {
    constexpr VkBufferUsageFlags kInput =
        VK_BUFFER_USAGE_ACCELERATION_STRUCTURE_BUILD_INPUT_READ_ONLY_BIT_KHR |
        VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    vertices_ = MakeHostBuffer(gpu(), 1024, kInput);
    const float corners[18] = {0,  0, 0,  1,  0, 0,  0,  1, 0, /* far away: */ 50,
                               50, 0, 51, 50, 0, 50, 51, 0};
    std::memcpy(vertices_.data, corners, sizeof(corners));
    VkAccelerationStructureGeometryKHR triangles[2] = {};
    for (uint32_t i = 0; i < 2; ++i) {
      triangles[i].sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_KHR;
      triangles[i].geometryType = VK_GEOMETRY_TYPE_TRIANGLES_KHR;
      triangles[i].flags = VK_GEOMETRY_OPAQUE_BIT_KHR;
      VkAccelerationStructureGeometryTrianglesDataKHR& data = triangles[i].geometry.triangles;
      data = {VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_TRIANGLES_DATA_KHR};
      data.vertexFormat = VK_FORMAT_R32G32B32_SFLOAT;
      data.vertexData.deviceAddress = AddressOf(vertices_) + i * 36;
      data.vertexStride = 12;
      data.maxVertex = 2;
      data.indexType = VK_INDEX_TYPE_NONE_KHR;
    }
    const uint32_t one_each[2] = {1, 1};
    bottom_ = Build(VK_ACCELERATION_STRUCTURE_TYPE_BOTTOM_LEVEL_KHR, triangles, one_each);
    VkAccelerationStructureDeviceAddressInfoKHR address{
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_DEVICE_ADDRESS_INFO_KHR};
    address.accelerationStructure = bottom_.handle;
    instances_ = MakeHostBuffer(gpu(), 2 * sizeof(VkAccelerationStructureInstanceKHR), kInput);
    for (uint32_t i = 0; i < 2; ++i) {
      VkAccelerationStructureInstanceKHR placed{};
      placed.transform.matrix[0][0] = 1;
      placed.transform.matrix[1][1] = 1;
      placed.transform.matrix[2][2] = 1;
      placed.transform.matrix[0][3] = i == 0 ? 0.0f : 100.0f;
      placed.instanceCustomIndex = 7 + i;
      placed.mask = 0xFF;
      placed.accelerationStructureReference = structure_address_(device, &address);
      instances_.As<VkAccelerationStructureInstanceKHR>()[i] = placed;
    }
    VkAccelerationStructureGeometryKHR instances{
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_KHR};
    instances.geometryType = VK_GEOMETRY_TYPE_INSTANCES_KHR;
    instances.flags = VK_GEOMETRY_OPAQUE_BIT_KHR;
    instances.geometry.instances = {
        VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_GEOMETRY_INSTANCES_DATA_KHR};
    instances.geometry.instances.data.deviceAddress = AddressOf(instances_);
    const uint32_t two = 2;
    top_ = Build(VK_ACCELERATION_STRUCTURE_TYPE_TOP_LEVEL_KHR, {&instances, 1}, {&two, 1});
  }

  // A set with the scene at binding 0 and the results at binding 1.
  void MakeSet(VkShaderStageFlags stages) {
    const VkDescriptorSetLayoutBinding bindings[2] = {
        {0, VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR, 1, stages, nullptr},
        {1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, stages, nullptr}};
    set_layout_ = MakeSetLayout(gpu(), bindings);
    layout_ = MakePipelineLayout(gpu(), {set_layout_.address(), 1});
    const VkDescriptorPoolSize pool_sizes[2] = {{VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR, 1},
                                                {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1}};
    pool_ = MakePool(gpu(), pool_sizes, 1);
    set_ = AllocateSet(gpu(), pool_, set_layout_);
    WriteBufferDescriptor(gpu(), set_, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, results_.handle);
    VkWriteDescriptorSetAccelerationStructureKHR structures{
        VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_ACCELERATION_STRUCTURE_KHR};
    structures.accelerationStructureCount = 1;
    structures.pAccelerationStructures = top_.handle.address();
    VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    write.pNext = &structures;
    write.dstSet = set_;
    write.descriptorCount = 1;
    write.descriptorType = VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR;
    vk.UpdateDescriptorSets(device, 1, &write, 0, nullptr);
  }

  // The middle of cell x, y is inside the triangle if x + y < 7.
  void ExpectTriangle() {
    for (uint32_t y = 0; y < 8; ++y) {
      for (uint32_t x = 0; x < 8; ++x) {
        if (x + y != 7) {  // Those lie on the edge.
          ASSERT_EQ(x + y < 7 ? 7 : kNothing, results_.As<uint32_t>()[y * 8 + x]) << x << ", " << y;
        }
      }
    }
  }

  bool offered_ = false;
  bool offers_queries_ = false;
  VkPhysicalDeviceAccelerationStructureFeaturesKHR structure_features_{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ACCELERATION_STRUCTURE_FEATURES_KHR};
  VkPhysicalDeviceRayQueryFeaturesKHR query_features_{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_QUERY_FEATURES_KHR};
  VkPhysicalDeviceRayTracingPipelineFeaturesKHR pipeline_features_{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_FEATURES_KHR};
  PFN_vkCreateAccelerationStructureKHR create_ = nullptr;
  PFN_vkDestroyAccelerationStructureKHR destroy_ = nullptr;
  PFN_vkGetAccelerationStructureBuildSizesKHR sizes_ = nullptr;
  PFN_vkCmdBuildAccelerationStructuresKHR build_ = nullptr;
  PFN_vkGetAccelerationStructureDeviceAddressKHR structure_address_ = nullptr;
  Buffer vertices_;
  Buffer instances_;
  Buffer results_;
  Structure bottom_;
  Structure top_;
  Owned<VkDescriptorSetLayout> set_layout_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkDescriptorPool> pool_;
  VkDescriptorSet set_ = VK_NULL_HANDLE;
};

TEST_F(RayTracingTest, RayQueryInAComputeShader) {
  VESPER_REQUIRE(offers_queries_);
  MakeSet(VK_SHADER_STAGE_COMPUTE_BIT);
  const Owned<VkPipeline> pipeline = MakeComputePipeline(gpu(), kRayQueryComp, layout_);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set_, 0,
                             nullptr);
    vk.CmdDispatch(commands, 1, 1, 1);
  });
  ExpectTriangle();
}

TEST_F(RayTracingTest, PipelineAndShaderBindingTable) {
  MakeSet(VK_SHADER_STAGE_RAYGEN_BIT_KHR);
  const auto create_pipelines =
      vk.Find<PFN_vkCreateRayTracingPipelinesKHR>(device, "vkCreateRayTracingPipelinesKHR");
  const auto get_handles = vk.Find<PFN_vkGetRayTracingShaderGroupHandlesKHR>(
      device, "vkGetRayTracingShaderGroupHandlesKHR");
  const auto trace = vk.Find<PFN_vkCmdTraceRaysKHR>(device, "vkCmdTraceRaysKHR");
  ASSERT_TRUE(create_pipelines != nullptr && get_handles != nullptr && trace != nullptr);
  VkPhysicalDeviceRayTracingPipelinePropertiesKHR limits{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_PROPERTIES_KHR};
  VkPhysicalDeviceProperties2 root{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  root.pNext = &limits;
  vk.GetPhysicalDeviceProperties2(physical_device, &root);

  const Owned<VkShaderModule> modules[3] = {MakeShader(gpu(), kTraceRgen),
                                            MakeShader(gpu(), kTraceRmiss),
                                            MakeShader(gpu(), kTraceRchit)};
  const VkShaderStageFlagBits stage_bits[3] = {VK_SHADER_STAGE_RAYGEN_BIT_KHR,
                                               VK_SHADER_STAGE_MISS_BIT_KHR,
                                               VK_SHADER_STAGE_CLOSEST_HIT_BIT_KHR};
  VkPipelineShaderStageCreateInfo stages[3] = {};
  VkRayTracingShaderGroupCreateInfoKHR groups[3] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    stages[i].sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    stages[i].stage = stage_bits[i];
    stages[i].module = modules[i];
    stages[i].pName = "main";
    groups[i].sType = VK_STRUCTURE_TYPE_RAY_TRACING_SHADER_GROUP_CREATE_INFO_KHR;
    groups[i].type = i == 2 ? VK_RAY_TRACING_SHADER_GROUP_TYPE_TRIANGLES_HIT_GROUP_KHR
                            : VK_RAY_TRACING_SHADER_GROUP_TYPE_GENERAL_KHR;
    groups[i].generalShader = i == 2 ? VK_SHADER_UNUSED_KHR : i;
    groups[i].closestHitShader = i == 2 ? 2 : VK_SHADER_UNUSED_KHR;
    groups[i].anyHitShader = VK_SHADER_UNUSED_KHR;
    groups[i].intersectionShader = VK_SHADER_UNUSED_KHR;
  }
  VkRayTracingPipelineCreateInfoKHR info{VK_STRUCTURE_TYPE_RAY_TRACING_PIPELINE_CREATE_INFO_KHR};
  info.stageCount = 3;
  info.pStages = stages;
  info.groupCount = 3;
  info.pGroups = groups;
  info.maxPipelineRayRecursionDepth = 1;
  info.layout = layout_;

  // Once with a deferred operation, which a driver may or may not make use of.
  const auto create_operation =
      vk.Find<PFN_vkCreateDeferredOperationKHR>(device, "vkCreateDeferredOperationKHR");
  const auto destroy_operation =
      vk.Find<PFN_vkDestroyDeferredOperationKHR>(device, "vkDestroyDeferredOperationKHR");
  const auto join = vk.Find<PFN_vkDeferredOperationJoinKHR>(device, "vkDeferredOperationJoinKHR");
  const auto result_of =
      vk.Find<PFN_vkGetDeferredOperationResultKHR>(device, "vkGetDeferredOperationResultKHR");
  VkDeferredOperationKHR operation = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS, create_operation(device, nullptr, &operation));
  VkPipeline pipeline = VK_NULL_HANDLE;
  VkResult result =
      create_pipelines(device, operation, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline);
  ASSERT_TRUE(result == VK_SUCCESS || result == VK_OPERATION_DEFERRED_KHR ||
              result == VK_OPERATION_NOT_DEFERRED_KHR)
      << ResultName(result);
  if (result == VK_OPERATION_DEFERRED_KHR) {
    do {
      result = join(device, operation);
    } while (result == VK_THREAD_IDLE_KHR);
    ASSERT_EQ(VK_SUCCESS, result);
    ASSERT_EQ(VK_SUCCESS, result_of(device, operation));
  }
  destroy_operation(device, operation, nullptr);

  const uint32_t size = limits.shaderGroupHandleSize;
  const uint32_t base = limits.shaderGroupBaseAlignment;
  ASSERT_GE(base, size);
  std::vector<uint8_t> handles(3 * size);
  ASSERT_EQ(VK_SUCCESS, get_handles(device, pipeline, 0, 3, handles.size(), handles.data()));
  const Buffer table = MakeHostBuffer(
      gpu(), 4 * base,
      VK_BUFFER_USAGE_SHADER_BINDING_TABLE_BIT_KHR | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT);
  const VkDeviceAddress start = (AddressOf(table) + base - 1) / base * base;
  VkStridedDeviceAddressRegionKHR regions[4] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    regions[i] = {start + i * base, base, base};
    std::memcpy(table.data + (regions[i].deviceAddress - AddressOf(table)), &handles[i * size],
                size);
  }
  Execute([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_RAY_TRACING_KHR, pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_RAY_TRACING_KHR, layout_, 0, 1, &set_,
                             0, nullptr);
    trace(commands, &regions[0], &regions[1], &regions[2], &regions[3], 8, 8, 1);
  });
  ExpectTriangle();
  vk.DestroyPipeline(device, pipeline, nullptr);
}

TEST_F(RayTracingTest, SerializationSizeFromAQuery) {
  // A query whose result is a property of an acceleration structure.
  const auto write_properties = vk.Find<PFN_vkCmdWriteAccelerationStructuresPropertiesKHR>(
      device, "vkCmdWriteAccelerationStructuresPropertiesKHR");
  ASSERT_NE(nullptr, write_properties);
  VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_ACCELERATION_STRUCTURE_SERIALIZATION_SIZE_KHR;
  info.queryCount = 1;
  const Owned<VkQueryPool> pool = Make(vk.CreateQueryPool, vk.DestroyQueryPool, info);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdResetQueryPool(commands, pool, 0, 1);
    write_properties(commands, 1, bottom_.handle.address(),
                     VK_QUERY_TYPE_ACCELERATION_STRUCTURE_SERIALIZATION_SIZE_KHR, pool, 0);
  });
  uint64_t size = 0;
  ASSERT_EQ(VK_SUCCESS, vk.GetQueryPoolResults(device, pool, 0, 1, 8, &size, 8,
                                               VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
  EXPECT_GT(size, 56u);  // The header alone takes so much.
}

}  // namespace
}  // namespace vesper::tests
