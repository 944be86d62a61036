// SPDX-License-Identifier: Apache-2.0
//
// What it costs that the device writes mapped memory which the program does not read, and what it
// costs to read it after all: as an ordinary Vulkan program, over a slow link. scripts/bench runs
// it for each value of VESPER_DOWNLOAD.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
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

/// Submissions before the measured ones: the driver finds out in these that nobody reads. Odd, so
/// that what is read in the end is not what the program's side held when it stopped being sent.
constexpr int kBefore = 7;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

int Run(int argc, char** argv) {
  CLI::App app("Measures mapped memory that the device writes and nobody reads.", "download_bench");
  size_t mebibytes = 64;
  int submissions = 16;
  app.add_option("--mib", mebibytes, "MiB that each submission writes");
  app.add_option("--submissions", submissions, "submissions that are measured");
  CLI11_PARSE(app, argc, argv);

  const Instance instance("download_bench", VK_API_VERSION_1_4);
  const Device device(instance, 0);
  const size_t bytes = mebibytes * kMiB;
  HostBuffers result(device, {bytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT},
                     VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
  const std::span<std::byte> mapped = result.Map().first(bytes);
  // Two contents take turns, so that each byte is new each time.
  std::vector<std::unique_ptr<Buffer>> contents;
  std::vector<std::unique_ptr<Work>> works;
  std::vector<std::byte> expected[2];
  for (uint64_t seed = 0; seed < 2; ++seed) {
    expected[seed].resize(bytes);
    Fill(expected[seed], Content::kNoise, seed);
    HostBuffers staging(device, {bytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT});
    std::memcpy(staging.Map().data(), expected[seed].data(), bytes);
    contents.push_back(std::make_unique<Buffer>(
        device, bytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
        Placement::kDevice));
    const VkBuffer content = contents.back()->handle();
    const VkBuffer target = result.buffer();
    Work(device, Copy(staging.buffer(), content, bytes)).Run();
    works.push_back(
        std::make_unique<Work>(device, [=](const DeviceCommands& vk, VkCommandBuffer commands) {
          Copy(content, target, bytes)(vk, commands);
          ReleaseToHost(vk, commands);
        }));
  }
  int turn = 0;
  const auto write = [&](int count) {
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i < count; ++i) {
      turn = 1 - turn;
      works[static_cast<size_t>(turn)]->Run();
    }
    return SecondsSince(begin);
  };
  const double before = write(kBefore);
  const double unread = write(submissions);
  const Clock::time_point begin = Clock::now();
  const bool is_right =
      std::memcmp(mapped.data(), expected[static_cast<size_t>(turn)].data(), bytes) == 0;
  const double read = SecondsSince(begin);
  if (!is_right) {
    throw Failure("the program did not get what the device wrote.");
  }
  std::printf("first %d submissions %8.2f s | %d more, unread %8.2f s | reading it all %8.3f s\n",
              kBefore, before, submissions, unread, read);
  return 0;
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) {
  return vesper::bench::RunProgram("download_bench", vesper::bench::Run, argc, argv);
}
