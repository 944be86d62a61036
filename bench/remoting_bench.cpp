// SPDX-License-Identifier: Apache-2.0
//
// What remoting costs, as an ordinary Vulkan program that runs on whatever driver the loader finds.
// scripts/bench runs it natively and through Vesper and prints the ratios; a figure of one run
// alone says little on a machine that does other things too.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "bench/run_program.h"
#include "examples/common/device.h"
#include "examples/common/resources.h"
#include "shaders/count_comp.h"

namespace vesper::bench {
namespace {

using examples::Buffer;
using examples::Device;
using examples::DeviceCommands;
using examples::Instance;

constexpr VkDeviceSize kMappedBytes = 16u << 20;
constexpr size_t kPageBytes = 4096;
constexpr int kCommandsPerBuffer = 1000;
constexpr int kRecordingThreads = 8;
constexpr int kCommandsPerThread = 100'000;

/// The work that each benchmark submits: one command buffer and the fence that says it is done.
class Work {
 public:
  explicit Work(const Device& device)
      : device_(device),
        pool_(examples::MakeCommandPool(device)),
        commands_(examples::AllocateCommandBuffer(device, pool_.get())) {}

  VkCommandBuffer commands() const { return commands_; }
  VkCommandPool pool() const { return pool_.get(); }

  void SubmitAndWait() { examples::RunCommands(device_, commands_); }
  void SubmitEmpty() {
    examples::BeginCommands(device_, commands_);
    SubmitAndWait();
  }

 private:
  const Device& device_;
  examples::Owned<VkCommandPool> pool_;
  VkCommandBuffer commands_;
};

void StartUp(benchmark::State& state) {
  for (auto _ : state) {
    const Instance instance("remoting_bench");
    const Device device(instance, 0);
    benchmark::DoNotOptimize(device.handle());
  }
}

/// An empty command buffer is recorded, submitted and waited for: a frame's fixed cost.
void SubmitAndWait(benchmark::State& state, const Device& device) {
  Work work(device);
  for (auto _ : state) {
    device.commands().ResetCommandPool(device.handle(), work.pool(), 0);
    work.SubmitEmpty();
  }
}

/// Commands recorded, not executed: per command.
void Record(benchmark::State& state, const Device& device) {
  const DeviceCommands& vk = device.commands();
  Work work(device);
  const VkViewport viewport{0, 0, 64, 64, 0, 1};
  for (auto _ : state) {
    vk.ResetCommandPool(device.handle(), work.pool(), 0);
    examples::BeginCommands(device, work.commands());
    for (int i = 0; i < kCommandsPerBuffer; ++i) {
      vk.CmdSetViewport(work.commands(), 0, 1, &viewport);
    }
    vk.EndCommandBuffer(work.commands());
  }
  state.SetItemsProcessed(state.iterations() * kCommandsPerBuffer);
  // What was recorded may still be on its way; the next benchmark must not wait for it.
  vk.ResetCommandPool(device.handle(), work.pool(), 0);
  work.SubmitEmpty();
}

/// Threads record small commands, each into a command pool of its own, and all of it is executed:
/// how fast a host replays what several threads have recorded.
void RecordOnThreads(benchmark::State& state, const Device& device) {
  const DeviceCommands& vk = device.commands();
  std::vector<Work> works;
  for (int i = 0; i < kRecordingThreads; ++i) {
    works.emplace_back(device);
  }
  const VkViewport viewport{0, 0, 64, 64, 0, 1};
  for (auto _ : state) {
    std::vector<std::thread> threads;
    for (const Work& work : works) {
      threads.emplace_back([&] {
        vk.ResetCommandPool(device.handle(), work.pool(), 0);
        examples::BeginCommands(device, work.commands());
        for (int i = 0; i < kCommandsPerThread; ++i) {
          vk.CmdSetViewport(work.commands(), 0, 1, &viewport);
        }
        vk.EndCommandBuffer(work.commands());
      });
    }
    std::vector<VkCommandBufferSubmitInfo> buffers;
    for (size_t i = 0; i < works.size(); ++i) {
      threads[i].join();
      buffers.push_back({.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                         .commandBuffer = works[i].commands()});
    }
    const VkSubmitInfo2 info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                .commandBufferInfoCount = static_cast<uint32_t>(buffers.size()),
                                .pCommandBufferInfos = buffers.data()};
    if (vk.QueueSubmit2(device.queue(), 1, &info, VK_NULL_HANDLE) != VK_SUCCESS ||
        vk.DeviceWaitIdle(device.handle()) != VK_SUCCESS) {
      state.SkipWithError("the submission failed");
      break;
    }
  }
  state.SetItemsProcessed(state.iterations() * kRecordingThreads * kCommandsPerThread);
}

/// A shader module and a pipeline, as the thread sees it that makes them.
void CreatePipeline(benchmark::State& state, const Device& device) {
  const VkDescriptorSetLayoutBinding binding = {
      .binding = 0,
      .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
      .descriptorCount = 1,
      .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
  };
  const auto set_layout = examples::MakeDescriptorSetLayout(device, {&binding, 1});
  const auto layout =
      examples::MakePipelineLayout(device, set_layout.get(), {VK_SHADER_STAGE_COMPUTE_BIT, 0, 4});
  for (auto _ : state) {
    const auto pipeline = examples::MakeComputePipeline(device, layout.get(), kCountComp);
    benchmark::DoNotOptimize(pipeline.get());
  }
}

void CreateBuffer(benchmark::State& state, const Device& device) {
  const DeviceCommands& vk = device.commands();
  // A driver may take its time to give back what the last benchmark used: not this one's business.
  Work(device).SubmitEmpty();
  const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                   .size = 4096,
                                   .usage = VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT};
  for (auto _ : state) {
    VkBuffer buffer = VK_NULL_HANDLE;
    if (vk.CreateBuffer(device.handle(), &info, nullptr, &buffer) != VK_SUCCESS) {
      state.SkipWithError("vkCreateBuffer failed");
      break;
    }
    vk.DestroyBuffer(device.handle(), buffer, nullptr);
  }
}

/// What the driver can do with formats, asked again and again: per question.
void AskAboutFormats(benchmark::State& state, const Device& device) {
  constexpr int kFormats = 100;
  for (auto _ : state) {
    for (int format = 1; format <= kFormats; ++format) {
      benchmark::DoNotOptimize(device.SupportsFormat(static_cast<VkFormat>(format),
                                                     VK_FORMAT_FEATURE_SAMPLED_IMAGE_BIT));
    }
  }
  state.SetItemsProcessed(state.iterations() * kFormats);
}

/// Mapped memory written (`range(0)` pages of it, spread evenly), then a submission that may read
/// it.
void WriteMapped(benchmark::State& state, const Device& device) {
  const Buffer buffer(device, kMappedBytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
                      examples::Placement::kUpload);
  Work work(device);
  const size_t pages = static_cast<size_t>(state.range(0));
  const size_t stride = kMappedBytes / kPageBytes / pages * kPageBytes;
  int value = 0;
  for (auto _ : state) {
    ++value;
    for (size_t page = 0; page < pages; ++page) {
      std::memset(&buffer.As<std::byte>()[page * stride], value, kPageBytes);
    }
    device.commands().ResetCommandPool(device.handle(), work.pool(), 0);
    work.SubmitEmpty();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(pages * kPageBytes));
}

/// The device fills mapped memory, the program waits and reads it.
void ReadBack(benchmark::State& state, const Device& device) {
  const VkDeviceSize bytes = static_cast<VkDeviceSize>(state.range(0));
  const Buffer buffer(device, bytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                      examples::Placement::kReadback);
  Work work(device);
  uint32_t value = 0;
  for (auto _ : state) {
    device.commands().ResetCommandPool(device.handle(), work.pool(), 0);
    examples::BeginCommands(device, work.commands());
    device.commands().CmdFillBuffer(work.commands(), buffer.handle(), 0, bytes, ++value);
    work.SubmitAndWait();
    benchmark::DoNotOptimize(buffer.As<uint32_t>()[bytes / 8]);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes));
}

int Run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const Instance instance("remoting_bench");
  const Device device(instance, 0);
  std::fprintf(stderr, "remoting_bench: on %s\n", device.name().c_str());
  const auto add = [&](const char* name, auto function) {
    return benchmark::RegisterBenchmark(
               name, [&device, function](benchmark::State& state) { function(state, device); })
        ->UseRealTime();
  };
  benchmark::RegisterBenchmark("start_up", StartUp)->UseRealTime()->Unit(benchmark::kMillisecond);
  add("submit_and_wait", SubmitAndWait)->Unit(benchmark::kMicrosecond);
  add("record_1000_commands", Record)->Unit(benchmark::kMicrosecond);
  add("record_8_x_100000_commands", RecordOnThreads)->Unit(benchmark::kMillisecond);
  add("create_pipeline", CreatePipeline)->Unit(benchmark::kMicrosecond);
  add("create_buffer", CreateBuffer)->Unit(benchmark::kMicrosecond);
  add("ask_about_100_formats", AskAboutFormats)->Unit(benchmark::kMicrosecond);
  add("write_16_mib_mapping/pages", WriteMapped)
      ->Arg(1)
      ->Arg(64)
      ->Arg(4096)
      ->Unit(benchmark::kMicrosecond);
  add("read_back/bytes", ReadBack)->Arg(64 << 10)->Arg(16 << 20)->Unit(benchmark::kMicrosecond);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) {
  return vesper::bench::RunProgram("remoting_bench", vesper::bench::Run, argc, argv);
}
