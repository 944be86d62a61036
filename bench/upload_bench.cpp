// SPDX-License-Identifier: Apache-2.0
//
// What it costs to upload a texture, and the same one again from other memory: as an ordinary
// Vulkan program, over a slow link. scripts/bench runs it for each way of remembering uploads.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "bench/figures.h"
#include "bench/gpu_memory.h"
#include "bench/run_program.h"
#include "examples/common/failure.h"

namespace vesper::bench {
namespace {

using examples::Buffer;
using examples::Device;
using examples::DeviceCommands;
using examples::Failure;
using examples::Instance;
using examples::Placement;
using Clock = std::chrono::steady_clock;

/// What the program does before it uploads: reading its files, for example.
constexpr std::chrono::milliseconds kStart{500};

/// Seconds until the device has the texture.
double Upload(const Device& device, std::span<const std::byte> texture, VkBuffer target) {
  HostBuffers staging(device, {texture.size(), VK_BUFFER_USAGE_TRANSFER_SRC_BIT});
  const Clock::time_point begin = Clock::now();
  std::memcpy(staging.Map().data(), texture.data(), texture.size());
  Work(device, Copy(staging.buffer(), target, texture.size())).Run();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

int Run(int argc, char** argv) {
  CLI::App app("Measures uploads of what was uploaded before.", "upload_bench");
  size_t mebibytes = 32;
  app.add_option("--mib", mebibytes, "MiB of the texture");
  CLI11_PARSE(app, argc, argv);

  const Instance instance("upload_bench", VK_API_VERSION_1_4);
  const Device device(instance, 0);
  const size_t bytes = mebibytes * kMiB;
  std::vector<std::byte> texture(bytes);
  Fill(texture, Content::kNoise, 1);
  const Buffer target(device, bytes,
                      VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                      Placement::kDevice);
  std::this_thread::sleep_for(kStart);
  const double first = Upload(device, texture, target.handle());
  const double second = Upload(device, texture, target.handle());
  HostBuffers result(device, {bytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT},
                     VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
  const std::span<std::byte> mapped = result.Map();
  const VkBuffer from = target.handle();
  const VkBuffer to = result.buffer();
  Work(device, [=](const DeviceCommands& vk, VkCommandBuffer commands) {
    Copy(from, to, bytes)(vk, commands);
    ReleaseToHost(vk, commands);
  }).Run();
  if (std::memcmp(mapped.data(), texture.data(), bytes) != 0) {
    throw Failure("the device did not get what the program uploaded.");
  }
  std::printf("%zu MiB in %6.2f s | again in %6.2f s\n", mebibytes, first, second);
  return 0;
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) {
  return vesper::bench::RunProgram("upload_bench", vesper::bench::Run, argc, argv);
}
