// SPDX-License-Identifier: Apache-2.0
//
// What windows cost: pictures a second if nobody waits for a refresh, processor time and bytes for
// each, and how long it takes from presenting until the picture is on the screen. Each picture has
// another color, so that every byte of it is new. scripts/bench present runs it natively and
// through Vesper.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "bench/run_program.h"
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

struct Figures {
  double per_second = 0;
  double processor_ms = 0;
  double until_seen_ms = 0;
  uint64_t pictures = 0;
};

Figures Measure(VkExtent2D extent, double seconds) {
  XServer server("4096x2304x24");
  XWindow window(server.display(), static_cast<uint16_t>(extent.width),
                 static_cast<uint16_t>(extent.height));
  WindowGpu gpu;
  gpu.OpenForWindows();
  const auto surface = gpu.MakeSurface(window);
  Frames frames(gpu, surface, {.extent = extent, .mode = VK_PRESENT_MODE_IMMEDIATE_KHR});
  Figures figures;
  uint64_t number = 0;
  const auto present = [&] {
    if (const VkResult result = frames.Present(++number); result != VK_SUCCESS) {
      throw tests::VulkanError(result, "presenting", __FILE__, __LINE__);
    }
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
    const uint32_t wanted = frames.Expected(number).back();
    while (window.Pixel(extent.width - 1, extent.height - 1) != wanted) {
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
  app.add_option("--name", name, "of the run, for the table");
  app.add_option("--seconds", seconds, "how long each size is presented");
  app.add_flag("--native", is_native, "there are no sessions whose bytes could be counted");
  CLI11_PARSE(app, argc, argv);
  for (const VkExtent2D extent : {VkExtent2D{640, 480}, {1280, 720}, {1920, 1080}, {3840, 2160}}) {
    Figures figures;
    double kilobytes = 0;
    const auto measure = [&] { figures = Measure(extent, seconds); };
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
