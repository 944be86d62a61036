// SPDX-License-Identifier: Apache-2.0
//
// What windows cost: pictures a second if nobody waits for a refresh, processor time and bytes for
// each, and how long it takes from presenting until the picture is on the screen. Two scenes, of
// which every pixel changes with each picture: one color, which next to nothing is left of when it
// is compressed, and a photograph that scrolls. scripts/bench present runs it natively and through
// Vesper.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "bench/run_program.h"
#include "tests/framework/random.h"
#include "tests/framework/session_statistics.h"
#include "tests/framework/window_gpu.h"

namespace vesper::bench {
namespace {

using tests::Frames;
using tests::WindowGpu;
using tests::XServer;
using tests::XWindow;
using Clock = std::chrono::steady_clock;

double ProcessorSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Rows by which the photograph scrolls, and as high are the blocks at its right end, black and
/// white in turn: the last pixel tells whether a picture is there, however it came.
constexpr uint32_t kScroll = 16;
constexpr uint32_t kSteps = 8;

/// Colors that change slowly, and noise.
tests::Buffer MakePhotograph(WindowGpu& gpu, VkExtent2D extent) {
  const uint32_t height = extent.height + kScroll * kSteps;
  tests::Random random(1);
  tests::Buffer photograph = tests::MakeHostBuffer(gpu, uint64_t{extent.width} * height * 4,
                                                   VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
  std::vector<uint32_t> row(extent.width);
  for (uint32_t y = 0; y < height; ++y) {
    for (uint32_t x = 0; x < extent.width; ++x) {
      row[x] = 0;
      for (int channel = 0; channel < 3; ++channel) {
        const double wave = std::sin(x * 0.021 + channel) + std::cos(y * 0.017 - 2 * channel);
        row[x] = row[x] << 8 | static_cast<uint32_t>(120 + 50 * wave + random.Below(9));
      }
    }
    std::fill(row.end() - kScroll, row.end(), y / kScroll % 2 == 0 ? 0u : 0xff'ffffu);
    std::memcpy(photograph.data + uint64_t{y} * extent.width * 4, row.data(), row.size() * 4);
  }
  return photograph;
}

struct Figures {
  double per_second = 0;
  double processor_ms = 0;
  double until_seen_ms = 0;
  uint64_t pictures = 0;
};

Figures Measure(VkExtent2D extent, double seconds, bool is_photograph) {
  XServer server("4096x2304x24");
  XWindow window(server.display(), static_cast<uint16_t>(extent.width),
                 static_cast<uint16_t>(extent.height));
  WindowGpu gpu;
  gpu.OpenForWindows();
  const auto surface = gpu.MakeSurface(window);
  Frames frames(gpu, surface, {.extent = extent, .mode = VK_PRESENT_MODE_IMMEDIATE_KHR});
  Figures figures;
  uint64_t number = 0;
  const tests::Buffer photograph = is_photograph ? MakePhotograph(gpu, extent) : tests::Buffer();
  const auto present = [&] {
    uint32_t image = 0;
    VkResult result = frames.Acquire(tests::kWaitLimitNs, &image);
    const auto scroll = [&](VkCommandBuffer commands) {
      const VkImage target = frames.images()[image];
      gpu.Transition(commands, target, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR,
                     VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
      const VkBufferImageCopy copy{number % kSteps * kScroll * extent.width * 4,
                                   0,
                                   0,
                                   {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
                                   {0, 0, 0},
                                   {extent.width, extent.height, 1}};
      gpu.vk.CmdCopyBufferToImage(commands, photograph.handle, target,
                                  VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
      gpu.Transition(commands, target, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                     VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
    };
    ++number;
    if (result == VK_SUCCESS) {
      result = frames.PresentImage(image, number, nullptr,
                                   is_photograph ? tests::Gpu::Recorder(scroll) : nullptr);
    }
    if (result != VK_SUCCESS) {
      throw tests::VulkanError(result, "presenting", __FILE__, __LINE__);
    }
  };
  const auto is_seen = [&] {
    const uint32_t pixel = window.Pixel(extent.width - 1, extent.height - 1);
    const bool is_white = ((extent.height - 1) / kScroll + number) % 2 != 0;
    return is_photograph ? ((pixel & 0xff) > 0x80) == is_white
                         : pixel == frames.Expected(number).back();
  };
  for (int i = 0; i < 5; ++i) {
    present();
  }
  const double processor = ProcessorSeconds();
  const Clock::time_point begin = Clock::now();
  const uint64_t first = number;
  while (SecondsSince(begin) < seconds || number - first < 5) {
    present();
  }
  // The rest of them is seen, too, in the time that counts.
  gpu.vk.QueueWaitIdle(gpu.queue);
  const auto measured = static_cast<double>(number - first);
  figures.per_second = measured / SecondsSince(begin);
  figures.processor_ms = (ProcessorSeconds() - processor) * 1e3 / measured;
  // One pixel tells that the picture is there: asking for all of them takes longer than showing.
  std::vector<double> times;
  for (int i = 0; i < 9; ++i) {
    present();
    const Clock::time_point presented = Clock::now();
    while (!is_seen()) {
    }
    times.push_back(SecondsSince(presented) * 1e3);
  }
  std::ranges::sort(times);
  figures.until_seen_ms = times[times.size() / 2];
  figures.pictures = number;
  return figures;
}

int Run(int argc, char** argv) {
  CLI::App app("Measures what windows cost.", "present_bench");
  std::string name = "native";
  double seconds = 3;
  bool is_native = false;
  bool is_photograph = false;
  app.add_flag("--photograph", is_photograph, "that scrolls, and not one color");
  app.add_option("--name", name, "of the run, for the table");
  app.add_option("--seconds", seconds, "how long each size is presented");
  app.add_flag("--native", is_native, "there are no sessions whose bytes could be counted");
  CLI11_PARSE(app, argc, argv);
  for (const VkExtent2D extent : {VkExtent2D{640, 480}, {1280, 720}, {1920, 1080}, {3840, 2160}}) {
    Figures figures;
    double kilobytes = 0;
    const auto measure = [&] { figures = Measure(extent, seconds, is_photograph); };
    if (is_native) {
      measure();
    } else {
      const tests::SessionStatistics session = tests::SessionOf(measure);
      kilobytes = static_cast<double>(session.bytes.at("wire_in")) / 1e3 /
                  static_cast<double>(figures.pictures);
    }
    std::printf("%-24s %4ux%-5u %9.1f %12.2f %14.2f %14.1f\n", name.c_str(), extent.width,
                extent.height, figures.per_second, figures.processor_ms, figures.until_seen_ms,
                kilobytes);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) {
  return vesper::bench::RunProgram("present_bench", vesper::bench::Run, argc, argv);
}
