// SPDX-License-Identifier: Apache-2.0
//
// What waits, and for how long: as an ordinary Vulkan program. scripts/bench latency runs it on the
// real driver and through Vesper, over links of several round-trip times.
//
// Frames. A frame writes mapped memory, is recorded, dispatches work of a given length and has a
// fence. Before the program begins frame N it waits for the fence of frame N - F, where F is the
// number of frames in flight. While the news of a frame's end and the next submission are on their
// way the device has F - 1 frames to work on: frames of at least RTT / (F - 1) hide the link, and
// shorter ones come F in each RTT and frame. What is not hidden is not the link's but the driver's.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "bench/figures.h"
#include "bench/gpu_memory.h"
#include "bench/run_program.h"
#include "examples/common/failure.h"
#include "examples/common/resources.h"
#include "shaders/spin_comp.h"

namespace vesper::bench {
namespace {

using examples::Buffer;
using examples::Device;
using examples::DeviceCommands;
using examples::Instance;
using examples::Placement;
using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

examples::Owned<VkFence> MakeFence(const Device& device) {
  const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  VkFence fence = VK_NULL_HANDLE;
  examples::Check(device.commands().CreateFence(device.handle(), &info, nullptr, &fence),
                  "vkCreateFence");
  return {device.handle(), fence, device.commands().DestroyFence};
}

void Submit(const Device& device, VkCommandBuffer commands, VkFence fence) {
  const VkCommandBufferSubmitInfo buffer = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                            .commandBuffer = commands};
  const VkSubmitInfo2 info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                              .commandBufferInfoCount = commands == VK_NULL_HANDLE ? 0u : 1u,
                              .pCommandBufferInfos = &buffer};
  examples::Check(device.commands().QueueSubmit2(device.queue(), 1, &info, fence),
                  "vkQueueSubmit2");
}

void WaitAndReset(const Device& device, VkFence fence) {
  const DeviceCommands& vk = device.commands();
  examples::Check(vk.WaitForFences(device.handle(), 1, &fence, VK_TRUE, UINT64_MAX),
                  "vkWaitForFences");
  examples::Check(vk.ResetFences(device.handle(), 1, &fence), "vkResetFences");
}

/// A pipeline that spins, and a number for it to work on.
class Spinner {
 public:
  explicit Spinner(const Device& device)
      : device_(device),
        number_(device, 256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kUpload) {
    const VkDescriptorSetLayoutBinding binding = {
        .binding = 0,
        .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
        .descriptorCount = 1,
        .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    set_layout_ = examples::MakeDescriptorSetLayout(device, std::span(&binding, 1));
    const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
    pool_ = examples::MakeDescriptorPool(device, 1, std::span(&size, 1));
    set_ = examples::AllocateDescriptorSet(device, pool_.get(), set_layout_.get());
    const VkDescriptorBufferInfo info = {number_.handle(), 0, VK_WHOLE_SIZE};
    const VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                        .dstSet = set_,
                                        .descriptorCount = 1,
                                        .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                        .pBufferInfo = &info};
    device.commands().UpdateDescriptorSets(device.handle(), 1, &write, 0, nullptr);
    layout_ = examples::MakePipelineLayout(device, set_layout_.get(),
                                           {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(uint32_t)});
    pipeline_ = MakePipeline();
  }

  examples::Owned<VkPipeline> MakePipeline() const {
    return examples::MakeComputePipeline(device_, layout_.get(), kSpinComp);
  }

  static constexpr uint32_t kCommands = 4;  // of RecordWork
  void RecordWork(VkCommandBuffer commands, VkPipeline pipeline, uint32_t rounds) const {
    const DeviceCommands& vk = device_.commands();
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_.get(), 0, 1, &set_,
                             0, nullptr);
    vk.CmdPushConstants(commands, layout_.get(), VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(rounds),
                        &rounds);
    vk.CmdDispatch(commands, 1, 1, 1);
  }
  void Record(VkCommandBuffer commands, VkPipeline pipeline, uint32_t rounds) const {
    RecordWork(commands, pipeline, rounds);
    ReleaseToHost(device_.commands(), commands);
  }

  VkPipeline pipeline() const { return pipeline_.get(); }

 private:
  const Device& device_;
  Buffer number_;
  examples::Owned<VkDescriptorSetLayout> set_layout_;
  examples::Owned<VkDescriptorPool> pool_;
  VkDescriptorSet set_ = VK_NULL_HANDLE;
  examples::Owned<VkPipelineLayout> layout_;
  examples::Owned<VkPipeline> pipeline_;
};

/// One of the frames in flight.
struct Frame {
  explicit Frame(const Device& device)
      : pool(examples::MakeCommandPool(device)),
        commands(examples::AllocateCommandBuffer(device, pool.get())),
        fence(MakeFence(device)),
        constants(device, 64 << 10, VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT, Placement::kUpload) {}

  examples::Owned<VkCommandPool> pool;
  VkCommandBuffer commands;
  examples::Owned<VkFence> fence;
  Buffer constants;
};

class Latencies {
 public:
  Latencies(const Device& device, const Effort& effort) : device_(device), effort_(effort) {}

  void SubmitAndWait() const {
    const auto fence = MakeFence(device_);
    PrintFigure("submit and wait, nothing to do", Unit::kMicroseconds,
                Measure(effort_, [&](Repetition& repetition) {
                  Submit(device_, VK_NULL_HANDLE, fence.get());
                  repetition.EndPhase("submit");
                  WaitAndReset(device_, fence.get());
                  repetition.EndPhase("wait");
                }));
  }

  void RecordAndSubmit() const {
    constexpr int kCommands = 100'000;
    const DeviceCommands& vk = device_.commands();
    const Frame frame(device_);
    const VkViewport viewport{0, 0, 64, 64, 0, 1};
    const Measured measured = Measure(effort_, [&](Repetition& repetition) {
      examples::BeginCommands(device_, frame.commands);
      for (int i = 0; i < kCommands; ++i) {
        vk.CmdSetViewport(frame.commands, 0, 1, &viewport);
      }
      examples::Check(vk.EndCommandBuffer(frame.commands), "vkEndCommandBuffer");
      Submit(device_, frame.commands, frame.fence.get());
      repetition.EndPhase("record");
      WaitAndReset(device_, frame.fence.get());
      repetition.EndPhase("wait");
      vk.ResetCommandPool(device_.handle(), frame.pool.get(), 0);
      repetition.Discard();
    });
    PrintValue("record, submit and wait, 100,000 commands", "Mcmd/s",
               kCommands / measured.seconds / 1e6);
  }

  void CreateBuffers() const {
    constexpr int kPairs = 1000;
    const DeviceCommands& vk = device_.commands();
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = 4096,
                                     .usage = VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT};
    const Measured measured = Measure(effort_, [&](Repetition& repetition) {
      for (int i = 0; i < kPairs; ++i) {
        VkBuffer buffer = VK_NULL_HANDLE;
        examples::Check(vk.CreateBuffer(device_.handle(), &info, nullptr, &buffer),
                        "vkCreateBuffer");
        vk.DestroyBuffer(device_.handle(), buffer, nullptr);
      }
      repetition.EndPhase("pairs");
    });
    PrintValue("create and destroy a buffer", "kpair/s", kPairs / measured.seconds / 1e3);
  }

  void PollFence() const {
    constexpr int kPolls = 1000;
    const auto fence = MakeFence(device_);
    const auto get_status = reinterpret_cast<PFN_vkGetFenceStatus>(
        device_.instance().commands().GetDeviceProcAddr(device_.handle(), "vkGetFenceStatus"));
    const Measured measured = Measure(effort_, [&](Repetition& repetition) {
      for (int i = 0; i < kPolls; ++i) {
        get_status(device_.handle(), fence.get());
      }
      repetition.EndPhase("polls");
    });
    PrintValue("ask for a fence's status", "Mcall/s", kPolls / measured.seconds / 1e6);
  }

  void MakePipelines() const {
    const Spinner spinner(device_);
    const Frame frame(device_);
    const DeviceCommands& vk = device_.commands();
    PrintFigure("pipeline: made and used", Unit::kMilliseconds,
                Measure(effort_, [&](Repetition& repetition) {
                  const auto pipeline = spinner.MakePipeline();
                  repetition.EndPhase("create");
                  examples::BeginCommands(device_, frame.commands);
                  spinner.Record(frame.commands, pipeline.get(), 1);
                  examples::Check(vk.EndCommandBuffer(frame.commands), "vkEndCommandBuffer");
                  Submit(device_, frame.commands, frame.fence.get());
                  WaitAndReset(device_, frame.fence.get());
                  repetition.EndPhase("use");
                  vk.ResetCommandPool(device_.handle(), frame.pool.get(), 0);
                  repetition.Discard();
                }));
  }

  void SubmitMany() const {
    constexpr int kSubmissions = 10'000;
    const auto fence = MakeFence(device_);
    const Frame frame(device_);
    examples::Check(device_.commands().EndCommandBuffer([&] {
      const VkCommandBufferBeginInfo begin = {
          .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
          .flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT};
      examples::Check(device_.commands().BeginCommandBuffer(frame.commands, &begin),
                      "vkBeginCommandBuffer");
      return frame.commands;
    }()),
                    "vkEndCommandBuffer");
    const Measured measured = Measure(effort_, [&](Repetition& repetition) {
      for (int i = 1; i < kSubmissions; ++i) {
        Submit(device_, frame.commands, VK_NULL_HANDLE);
      }
      Submit(device_, frame.commands, fence.get());
      repetition.EndPhase("submit");
      WaitAndReset(device_, fence.get());
      repetition.EndPhase("wait");
    });
    PrintValue("10,000 small submissions in flight", "ksubm/s",
               kSubmissions / measured.seconds / 1e3);
  }

  /// What small work waits for while another thread sends much memory, which it does not touch.
  void SubmitBesideUpload() const {
    constexpr size_t kBytes = 64 * kMiB;
    const auto flush = reinterpret_cast<PFN_vkFlushMappedMemoryRanges>(
        device_.instance().commands().GetDeviceProcAddr(device_.handle(),
                                                        "vkFlushMappedMemoryRanges"));
    const Buffer uploaded(device_, kBytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kUpload);
    const Spinner spinner(device_);
    const Frame frame(device_);
    std::atomic<bool> is_stopping{false};
    std::atomic<uint64_t> uploads{0};
    std::thread uploader([&] {
      for (; !is_stopping.load(); ++uploads) {
        Fill(uploaded.bytes(), Content::kNoise, uploads.load());
        const VkMappedMemoryRange range = {.sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE,
                                           .memory = uploaded.memory(),
                                           .size = VK_WHOLE_SIZE};
        flush(device_.handle(), 1, &range);
      }
    });
    std::vector<double> waits;
    const Clock::time_point begin = Clock::now();
    while (waits.size() < 20 || SecondsSince(begin) < 3) {
      const Clock::time_point submitted = Clock::now();
      examples::BeginCommands(device_, frame.commands);
      spinner.Record(frame.commands, spinner.pipeline(), 1);
      examples::Check(device_.commands().EndCommandBuffer(frame.commands), "vkEndCommandBuffer");
      Submit(device_, frame.commands, frame.fence.get());
      WaitAndReset(device_, frame.fence.get());
      waits.push_back(SecondsSince(submitted));
      device_.commands().ResetCommandPool(device_.handle(), frame.pool.get(), 0);
    }
    is_stopping = true;
    uploader.join();
    std::ranges::sort(waits);
    PrintValue("submit and wait beside an upload of 64 MiB", "ms", waits[waits.size() / 2] * 1e3);
    PrintValue("the same, the slowest of ten", "ms", waits[waits.size() * 9 / 10] * 1e3);
  }

  /// `rounds`: how long the device works on each frame.
  void RunFrames(const char* length, uint32_t rounds, int seconds) const {
    const Spinner spinner(device_);
    const DeviceCommands& vk = device_.commands();
    for (const size_t in_flight : {1, 2, 3}) {
      std::vector<std::unique_ptr<Frame>> frames;
      for (size_t i = 0; i < in_flight; ++i) {
        frames.push_back(std::make_unique<Frame>(device_));
      }
      size_t count = 0;
      size_t warm = 0;  // frames before the clock starts
      Clock::time_point begin;
      for (; warm == 0 || SecondsSince(begin) < seconds; ++count) {
        Frame& frame = *frames[count % in_flight];
        if (count >= in_flight) {
          WaitAndReset(device_, frame.fence.get());
          vk.ResetCommandPool(device_.handle(), frame.pool.get(), 0);
        }
        if (count == 2 * in_flight) {
          warm = count;
          begin = Clock::now();
        }
        for (uint32_t& word : frame.constants.As<uint32_t>().first(1024)) {
          word = static_cast<uint32_t>(count);
        }
        examples::BeginCommands(device_, frame.commands);
        spinner.Record(frame.commands, spinner.pipeline(), rounds);
        examples::Check(vk.EndCommandBuffer(frame.commands), "vkEndCommandBuffer");
        Submit(device_, frame.commands, frame.fence.get());
      }
      const double rate = static_cast<double>(count - warm) / SecondsSince(begin);
      examples::Check(vk.DeviceWaitIdle(device_.handle()), "vkDeviceWaitIdle");
      PrintValue(
          "frames of " + std::string(length) + ", " + std::to_string(in_flight) + " in flight",
          "frame/s", rate);
    }
  }

 private:
  const Device& device_;
  const Effort effort_;
};

/// How many rounds keep the device busy for so long.
uint32_t Calibrate(const Device& device, double seconds) {
  const Spinner spinner(device);
  const Frame frame(device);
  const auto run = [&](uint32_t rounds) {
    examples::BeginCommands(device, frame.commands);
    spinner.Record(frame.commands, spinner.pipeline(), rounds);
    const Clock::time_point begin = Clock::now();
    examples::RunCommands(device, frame.commands);
    const double took = SecondsSince(begin);
    device.commands().ResetCommandPool(device.handle(), frame.pool.get(), 0);
    return took;
  };
  uint32_t rounds = 1000;
  run(rounds);
  while (run(rounds) < seconds / 4 && rounds < (1u << 30)) {
    rounds *= 2;
  }
  return static_cast<uint32_t>(rounds * seconds / run(rounds));
}

/// Records so many commands, as a program does that dispatches: each fourth is a dispatch. For
/// counting what that takes, with what is the same for any number.
void RecordCommands(const Device& device, uint32_t count) {
  const Spinner spinner(device);
  const Frame frame(device);
  examples::BeginCommands(device, frame.commands);
  for (uint32_t i = 0; i < count / Spinner::kCommands; ++i) {
    spinner.RecordWork(frame.commands, spinner.pipeline(), 1);
  }
  examples::Check(device.commands().EndCommandBuffer(frame.commands), "vkEndCommandBuffer");
}

int Run(int argc, char** argv) {
  CLI::App app("Measures what waits: submissions, polls, pipelines and frames.", "latency_bench");
  double calibrate = 0;
  uint32_t rounds = 0;
  bool quick = false;
  bool only_start = false;
  bool only_beside = false;
  bool only_here = false;
  std::optional<uint32_t> only_record;
  app.add_option("--calibrate", calibrate,
                 "print how many rounds keep the device busy for so many milliseconds, and end");
  app.add_option("--rounds", rounds, "the rounds of a frame of 50 ms");
  app.add_flag("--quick", quick, "fewer repetitions");
  app.add_flag("--start", only_start, "make one frame and end");
  app.add_flag("--beside", only_beside, "only small work beside a large upload");
  app.add_flag("--here", only_here, "only what needs no link: submissions and recording");
  app.add_option("--record", only_record, "record so many commands and end");
  CLI11_PARSE(app, argc, argv);

  const Clock::time_point begin = Clock::now();
  const Instance instance("latency_bench");
  const Device device(instance, 0);
  if (only_record) {
    RecordCommands(device, *only_record);
    return 0;
  }
  if (calibrate > 0) {
    std::printf("%u\n", Calibrate(device, calibrate / 1e3));
    return 0;
  }
  {
    const Spinner spinner(device);
    const Frame frame(device);
    examples::BeginCommands(device, frame.commands);
    spinner.Record(frame.commands, spinner.pipeline(), 1);
    examples::RunCommands(device, frame.commands);
  }
  PrintValue("start-up to the first frame", "ms", SecondsSince(begin) * 1e3);
  if (only_start) {
    return 0;
  }
  const Latencies latencies(device, quick ? Effort::Quick() : Effort());
  if (only_beside) {
    latencies.SubmitBesideUpload();
    return 0;
  }
  if (only_here) {
    latencies.SubmitAndWait();
    latencies.RecordAndSubmit();
    latencies.SubmitMany();
    return 0;
  }
  latencies.SubmitAndWait();
  latencies.PollFence();
  latencies.CreateBuffers();
  latencies.RecordAndSubmit();
  latencies.SubmitMany();
  latencies.MakePipelines();
  latencies.SubmitBesideUpload();
  const int seconds = quick ? 2 : 4;
  latencies.RunFrames("5 ms", rounds / 10, seconds);
  latencies.RunFrames("50 ms", rounds, seconds);
  return 0;
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) {
  return vesper::bench::RunProgram("latency_bench", vesper::bench::Run, argc, argv);
}
