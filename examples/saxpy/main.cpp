// SPDX-License-Identifier: Apache-2.0
//
// saxpy: the smallest useful compute program. The host fills two arrays through mapped memory, the
// device computes y = a * x + y, the host reads y back through the same mapping and checks every
// element. All values are small integers, so the sums are exact and there is no tolerance to
// choose.

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>

#include "examples/common/device.h"
#include "examples/common/failure.h"
#include "examples/common/resources.h"
#include "shaders/saxpy_comp.h"

namespace vesper::examples {
namespace {

constexpr uint32_t kCount = 1'000'003;  // a prime: the last workgroup is only partly filled
constexpr uint32_t kGroupSize = 64;     // local_size_x of the shader
constexpr float kA = 3.0f;

struct Parameters {
  float a;
  uint32_t count;
};

float InitialX(uint32_t i) { return static_cast<float>(i % 4093); }
float InitialY(uint32_t i) { return static_cast<float>(i % 509); }

void Run() {
  const Instance instance("saxpy");
  const Device device(instance, 0);
  const DeviceCommands& vk = device.commands();

  // The arrays. Filling them is nothing but writing through two pointers.
  constexpr VkDeviceSize kBytes = kCount * sizeof(float);
  const Buffer x(device, kBytes, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kUpload);
  const Buffer y(device, kBytes, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kReadback);
  for (uint32_t i = 0; i < kCount; ++i) {
    x.As<float>()[i] = InitialX(i);
    y.As<float>()[i] = InitialY(i);
  }

  // The shader and its two arguments.
  VkDescriptorSetLayoutBinding bindings[2] = {};
  for (uint32_t i = 0; i < 2; ++i) {
    bindings[i] = {.binding = i,
                   .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                   .descriptorCount = 1,
                   .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
  }
  const Owned<VkDescriptorSetLayout> set_layout = MakeDescriptorSetLayout(device, bindings);
  const VkDescriptorPoolSize pool_sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2}};
  const Owned<VkDescriptorPool> descriptor_pool = MakeDescriptorPool(device, 1, pool_sizes);
  const VkDescriptorSet set =
      AllocateDescriptorSet(device, descriptor_pool.get(), set_layout.get());
  const VkDescriptorBufferInfo buffer_infos[2] = {{x.handle(), 0, VK_WHOLE_SIZE},
                                                  {y.handle(), 0, VK_WHOLE_SIZE}};
  const VkWriteDescriptorSet write = {
      .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
      .dstSet = set,
      .dstBinding = 0,  // and, being of the same kind, on into binding 1
      .descriptorCount = 2,
      .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
      .pBufferInfo = buffer_infos,
  };
  vk.UpdateDescriptorSets(device.handle(), 1, &write, 0, nullptr);
  const Owned<VkPipelineLayout> layout = MakePipelineLayout(
      device, set_layout.get(), {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(Parameters)});
  const Owned<VkPipeline> pipeline = MakeComputePipeline(device, layout.get(), kSaxpyComp);

  // The work.
  const Owned<VkCommandPool> command_pool = MakeCommandPool(device);
  const VkCommandBuffer commands = AllocateCommandBuffer(device, command_pool.get());
  BeginCommands(device, commands);
  const Parameters parameters = {kA, kCount};
  vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.get());
  vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout.get(), 0, 1, &set, 0,
                           nullptr);
  vk.CmdPushConstants(commands, layout.get(), VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(parameters),
                      &parameters);
  vk.CmdDispatch(commands, (kCount + kGroupSize - 1) / kGroupSize, 1, 1);
  // What the shader wrote must reach the host before the fence says so.
  const VkMemoryBarrier2 to_host = {
      .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
      .srcStageMask = VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT,
      .srcAccessMask = VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT,
      .dstStageMask = VK_PIPELINE_STAGE_2_HOST_BIT,
      .dstAccessMask = VK_ACCESS_2_HOST_READ_BIT,
  };
  const VkDependencyInfo dependency = {.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
                                       .memoryBarrierCount = 1,
                                       .pMemoryBarriers = &to_host};
  vk.CmdPipelineBarrier2(commands, &dependency);
  RunCommands(device, commands);

  // The proof.
  for (uint32_t i = 0; i < kCount; ++i) {
    const float expected = kA * InitialX(i) + InitialY(i);
    const float actual = y.As<float>()[i];
    if (actual != expected) {
      throw Failure("element " + std::to_string(i) + " is " + std::to_string(actual) +
                    ", and the host computed " + std::to_string(expected) + ".");
    }
  }
  std::printf("saxpy: %u elements are right\n", kCount);
  std::fprintf(stderr, "saxpy: computed on %s\n", device.name().c_str());
}

}  // namespace
}  // namespace vesper::examples

int main() {
  try {
    vesper::examples::Run();
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "saxpy: %s\n", failure.what());
    return 1;
  }
  return 0;
}
