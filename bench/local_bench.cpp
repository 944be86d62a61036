// SPDX-License-Identifier: Apache-2.0
//
// Frames that are heavy in one way each: as an ordinary Vulkan program, which scripts/bench local
// runs on the real driver and through Vesper on the same machine.
//
// `draws`: thousands of small draws, each with constants of its own, recorded anew for each frame.
// What bounds it is recording, natively and, if the device is fast, in the worker as well.
// `dispatches`: a hundred dispatches that spin, for a time that the caller calibrates. What bounds
// it is the device.
//
// Two frames are in flight. A number of frames, and not a time, so that the caller can count what
// the processes take for the same work.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/figures.h"
#include "bench/run_program.h"
#include "shaders/color_frag.h"
#include "shaders/quad_vert.h"
#include "shaders/spin_comp.h"
#include "tests/framework/graphics_pipeline.h"
#include "tests/framework/resources.h"

namespace vesper::bench {
namespace {

using Clock = std::chrono::steady_clock;
using tests::Gpu;
using tests::Owned;

constexpr int kInFlight = 2;

/// Runs frames of what `record` records, and prints how many there were in a second.
void RunFrames(Gpu& gpu, const std::string& name, int frames,
               const std::function<void(VkCommandBuffer, int frame)>& record) {
  VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  pool_info.queueFamilyIndex = gpu.queue_family;
  struct Frame {
    Owned<VkCommandPool> pool;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    Owned<VkFence> fence;
  };
  std::vector<Frame> in_flight;
  for (int i = 0; i < kInFlight; ++i) {
    Frame frame{gpu.Make(gpu.vk.CreateCommandPool, gpu.vk.DestroyCommandPool, pool_info),
                VK_NULL_HANDLE, gpu.MakeFence(true)};
    VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    info.commandPool = frame.pool;
    info.commandBufferCount = 1;
    VESPER_CHECK(gpu.vk.AllocateCommandBuffers(gpu.device, &info, &frame.commands));
    in_flight.push_back(std::move(frame));
  }
  const int warm = frames / 10 + kInFlight;
  Clock::time_point begin;
  for (int i = 0; i < warm + frames; ++i) {
    if (i == warm) {
      VESPER_CHECK(gpu.vk.DeviceWaitIdle(gpu.device));
      begin = Clock::now();
    }
    Frame& frame = in_flight[static_cast<size_t>(i % kInFlight)];
    gpu.Wait(frame.fence);
    VESPER_CHECK(gpu.vk.ResetFences(gpu.device, 1, frame.fence.address()));
    VESPER_CHECK(gpu.vk.ResetCommandPool(gpu.device, frame.pool, 0));
    gpu.RecordInto(frame.commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
                   [&](VkCommandBuffer commands) { record(commands, i); });
    gpu.Submit(frame.commands, frame.fence);
  }
  VESPER_CHECK(gpu.vk.DeviceWaitIdle(gpu.device));
  PrintValue(name, "frame/s", frames / std::chrono::duration<double>(Clock::now() - begin).count());
}

void RunDraws(Gpu& gpu, int frames, int draws) {
  constexpr uint32_t kWidth = 1280;
  constexpr uint32_t kHeight = 720;
  const tests::Image target =
      MakeImage(gpu, tests::ImageInfo(VK_FORMAT_R8G8B8A8_UNORM, kWidth, kHeight,
                                      VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT));
  const Owned<VkImageView> view = MakeView(gpu, target);
  struct Push {
    float rect[4];
    float color[4];
    float depth;
  };
  constexpr uint32_t kPushBytes = 36;
  const auto layout = MakePipelineLayout(gpu, {}, VK_SHADER_STAGE_VERTEX_BIT, kPushBytes);
  const auto vertex = MakeShader(gpu, kQuadVert);
  const auto fragment = MakeShader(gpu, kColorFrag);
  tests::GraphicsState state;
  state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, vertex);
  state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, fragment);
  state.layout = layout;
  const auto pipeline = state.Build(gpu);
  RunFrames(gpu, "frames of " + Grouped(static_cast<uint64_t>(draws)) + " draws", frames,
            [&](VkCommandBuffer commands, int frame) {
              gpu.Transition(commands, target.handle, VK_IMAGE_LAYOUT_UNDEFINED,
                             VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
              BeginColorRendering(gpu, commands, view, kWidth, kHeight, {});
              SetArea(gpu, commands, kWidth, kHeight);
              gpu.vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
              for (int i = 0; i < draws; ++i) {
                // Quads of some eight pixels' width, in rows of a hundred.
                const float x = static_cast<float>(i % 100) / 50 - 1;
                const float y = static_cast<float>(i / 100 % 100) / 50 - 1;
                const Push push = {{x, y, x + 0.0125f, y + 0.0125f},
                                   {1, 0, static_cast<float>(frame % 100) / 100, 1},
                                   0};
                gpu.vk.CmdPushConstants(commands, layout, VK_SHADER_STAGE_VERTEX_BIT, 0, kPushBytes,
                                        &push);
                gpu.vk.CmdDraw(commands, 6, 1, 0, 0);
              }
              gpu.vk.CmdEndRendering(commands);
            });
}

void RunDispatches(Gpu& gpu, int frames, uint32_t rounds) {
  constexpr uint32_t kDispatches = 100;
  const tests::Buffer number = MakeDeviceBuffer(gpu, 256);
  const VkBuffer handle = number.handle;
  const tests::Kernel kernel = MakeKernel(gpu, kSpinComp, {&handle, 1}, sizeof(rounds));
  const uint32_t each = rounds / kDispatches;
  RunFrames(gpu, "frames of 100 dispatches", frames, [&](VkCommandBuffer commands, int) {
    for (uint32_t i = 0; i < kDispatches; ++i) {
      gpu.vk.CmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(each),
                              &each);
      kernel.Dispatch(gpu, commands, 1);
      gpu.FullBarrier(commands);
    }
  });
}

int Run(int argc, char** argv) {
  CLI::App app("Runs frames that are heavy in one way.", "local_bench");
  int frames = 300;
  int draws = 0;
  uint32_t rounds = 0;
  app.add_option("--frames", frames, "how many, after a tenth of it to warm up");
  app.add_option("--draws", draws, "draws of each frame");
  app.add_option("--rounds", rounds, "rounds of a frame's dispatches (latency_bench --calibrate)");
  CLI11_PARSE(app, argc, argv);
  Gpu gpu;
  gpu.Open();
  if (draws > 0) {
    RunDraws(gpu, frames, draws);
  }
  if (rounds > 0) {
    RunDispatches(gpu, frames, rounds);
  }
  return 0;
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) {
  return vesper::bench::RunProgram("local_bench", vesper::bench::Run, argc, argv);
}
