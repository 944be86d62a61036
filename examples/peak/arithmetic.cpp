// SPDX-License-Identifier: Apache-2.0
#include "examples/peak/arithmetic.h"

#include <cinttypes>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "examples/common/failure.h"
#include "examples/common/resources.h"
#include "examples/peak/checksum.h"
#include "shaders/float16_comp.h"
#include "shaders/float16x4_comp.h"
#include "shaders/float32_comp.h"
#include "shaders/float32x4_comp.h"
#include "shaders/float64_comp.h"
#include "shaders/uint16_comp.h"
#include "shaders/uint32_comp.h"
#include "shaders/uint32x4_comp.h"
#include "shaders/uint64_comp.h"
#include "shaders/uint8_comp.h"

namespace vesper::examples {
namespace {

constexpr uint32_t kGroupSize = 64;  // local_size_x of the shaders
// How many different starts there are: a prime, so that neighbours in a group differ, and small, so
// that the host has soon computed them all.
constexpr uint32_t kStarts = 251;

struct Parameters {
  uint32_t rounds;
  uint32_t starts;
};

// What one invocation comes to, computed by the host.
using Chain = uint32_t (*)(uint32_t start, uint32_t rounds);

template <typename Integer>
uint32_t Wrapping(uint32_t start, uint32_t rounds) {
  auto x = static_cast<Integer>(start);
  for (uint32_t round = 0; round < rounds; ++round) {
    x = static_cast<Integer>(x * Integer{5} + Integer{3});
  }
  if constexpr (sizeof(Integer) == 8) {
    return static_cast<uint32_t>(x) ^ static_cast<uint32_t>(x >> 32);
  }
  return static_cast<uint32_t>(x);
}

uint32_t Remainder(uint32_t start, uint32_t rounds) {
  return Wrapping<uint8_t>(start, rounds);  // the same, whatever type holds it
}

template <Chain kOne>
uint32_t FourOf(uint32_t start, uint32_t rounds) {
  uint32_t sum = 0;
  for (uint32_t component = 0; component < 4; ++component) {
    sum += kOne(start + component, rounds);
  }
  return sum;
}

struct Load {
  const char* name;
  std::span<const uint32_t> shader;
  Chain chain;
  uint32_t components;
  bool Arithmetic::* needs;  // null if each device has it
};

const Load kLoads[] = {
    {"float16", kFloat16Comp, Remainder, 1, &Arithmetic::float16},
    {"float16 x 4", kFloat16x4Comp, FourOf<Remainder>, 4, &Arithmetic::float16},
    {"float32", kFloat32Comp, Remainder, 1, nullptr},
    {"float32 x 4", kFloat32x4Comp, FourOf<Remainder>, 4, nullptr},
    {"float64", kFloat64Comp, Remainder, 1, &Arithmetic::float64},
    {"uint8", kUint8Comp, Wrapping<uint8_t>, 1, &Arithmetic::int8},
    {"uint16", kUint16Comp, Wrapping<uint16_t>, 1, &Arithmetic::int16},
    {"uint32", kUint32Comp, Wrapping<uint32_t>, 1, nullptr},
    {"uint32 x 4", kUint32x4Comp, FourOf<Wrapping<uint32_t>>, 4, nullptr},
    {"uint64", kUint64Comp, Wrapping<uint64_t>, 1, &Arithmetic::int64},
};

void CheckResults(const Load& load, std::span<const uint32_t> results, uint32_t rounds) {
  std::vector<uint32_t> expected(kStarts);
  for (uint32_t start = 0; start < kStarts; ++start) {
    expected[start] = load.chain(start, rounds);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i] != expected[i % kStarts]) {
      throw Failure(std::string(load.name) + ": invocation " + std::to_string(i) + " came to " +
                    std::to_string(results[i]) + ", and the host to " +
                    std::to_string(expected[i % kStarts]) + ".");
    }
  }
}

}  // namespace

void RunArithmetic(const Device& device, uint32_t invocations, uint32_t rounds) {
  const DeviceCommands& vk = device.commands();
  const Buffer results(device, invocations * sizeof(uint32_t), VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
                       Placement::kReadback);
  const VkDescriptorSetLayoutBinding binding = {.binding = 0,
                                                .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                .descriptorCount = 1,
                                                .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
  const auto set_layout = MakeDescriptorSetLayout(device, {&binding, 1});
  const VkDescriptorPoolSize pool_size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
  const auto pool = MakeDescriptorPool(device, 1, {&pool_size, 1});
  const VkDescriptorSet set = AllocateDescriptorSet(device, pool.get(), set_layout.get());
  const VkDescriptorBufferInfo buffer = {results.handle(), 0, VK_WHOLE_SIZE};
  const VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                      .dstSet = set,
                                      .descriptorCount = 1,
                                      .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                      .pBufferInfo = &buffer};
  vk.UpdateDescriptorSets(device.handle(), 1, &write, 0, nullptr);
  const auto layout = MakePipelineLayout(device, set_layout.get(),
                                         {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(Parameters)});
  const auto command_pool = MakeCommandPool(device);
  const VkCommandBuffer commands = AllocateCommandBuffer(device, command_pool.get());

  for (const Load& load : kLoads) {
    if (load.needs != nullptr && !(device.arithmetic().*load.needs)) {
      std::printf("%-13s this device has none\n", load.name);
      continue;
    }
    const auto pipeline = MakeComputePipeline(device, layout.get(), load.shader);
    const std::span<uint32_t> words = results.As<uint32_t>();
    std::fill(words.begin(), words.end(), ~0u);  // no result is all ones in every invocation
    BeginCommands(device, commands);
    const Parameters parameters = {rounds, kStarts};
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.get());
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout.get(), 0, 1, &set, 0,
                             nullptr);
    vk.CmdPushConstants(commands, layout.get(), VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(parameters),
                        &parameters);
    vk.CmdDispatch(commands, invocations / kGroupSize, 1, 1);
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
    const Stopwatch watch;
    RunCommands(device, commands);
    const double seconds = watch.Seconds();
    CheckResults(load, words, rounds);
    std::printf("%-13s %u results are right, %016" PRIx64 "\n", load.name, invocations,
                Checksum(words));
    // Two operations a step; what makes the remainder is not counted.
    std::fprintf(stderr, "%-13s %9.2f Gop/s\n", load.name,
                 2e-9 * load.components * invocations * rounds / seconds);
    Check(vk.ResetCommandPool(device.handle(), command_pool.get(), 0), "vkResetCommandPool");
  }
}

}  // namespace vesper::examples
