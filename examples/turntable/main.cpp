// SPDX-License-Identifier: Apache-2.0
//
// turntable: draws a textured knot on a turntable, without a window. Frame N depends on nothing but
// N and the size, so two runs on one driver give the same pixels: that makes it a good probe of
// whatever lies between the program and the driver.
//
//   turntable --frame 30 --output demo.png    draws one frame into a file
//   turntable --frames 24 --checksums         draws frames and prints a checksum of each

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <string>

#include "examples/common/device.h"
#include "examples/common/failure.h"
#include "examples/turntable/png_file.h"
#include "examples/turntable/renderer.h"

namespace vesper::examples {
namespace {

// Every driver can make images of this size.
constexpr uint32_t kMaxSize = 4096;

struct Options {
  uint32_t first_frame = 0;
  uint32_t frame_count = 1;
  std::string output;
  bool checksums = false;
  VkExtent2D extent = {640, 480};
  uint32_t device = 0;
};

// Parses WxH.
VkExtent2D ParseSize(const std::string& text) {
  VkExtent2D extent = {};
  char rest = 0;
  if (std::sscanf(text.c_str(), "%4" SCNu32 "x%4" SCNu32 "%c", &extent.width, &extent.height,
                  &rest) != 2 ||
      extent.width == 0 || extent.height == 0 || extent.width > kMaxSize ||
      extent.height > kMaxSize) {
    throw Failure("'" + text + "' is not a size; give WIDTHxHEIGHT, each from 1 to " +
                  std::to_string(kMaxSize) + ".");
  }
  return extent;
}

// FNV-1a with 64 bits: short, and any changed byte changes it.
uint64_t Checksum(std::span<const std::byte> bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) {
    hash = (hash ^ std::to_integer<uint64_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

void Run(const Options& options) {
  const Instance instance("turntable");
  const Device device(instance, options.device);
  std::fprintf(stderr, "turntable: drawing on %s\n", device.name().c_str());
  Renderer renderer(device, options.extent);

  // One frame is started ahead of the one that is waited for.
  uint32_t started = 0;
  for (uint32_t finished = 0; finished < options.frame_count; ++finished) {
    const uint32_t wanted = std::min(finished + Renderer::kSlots, options.frame_count);
    for (; started < wanted; ++started) {
      renderer.Start(options.first_frame + started);
    }
    const std::span<const std::byte> pixels = renderer.Finish();
    if (options.checksums) {
      std::printf("frame %" PRIu32 " %016" PRIx64 "\n", options.first_frame + finished,
                  Checksum(pixels));
    }
    if (!options.output.empty()) {
      WritePng(options.output, options.extent.width, options.extent.height, pixels);
    }
  }
}

int Main(int argc, char** argv) {
  Options options;
  std::string size;
  CLI::App app("Draws a textured knot on a turntable with Vulkan, without a window.", "turntable");
  app.add_option("--frame", options.first_frame, "Number of the (first) frame, from 0");
  app.add_option("--frames", options.frame_count, "How many frames to draw")
      ->check(CLI::PositiveNumber);
  app.add_option("--output", options.output, "PNG file to write, for a single frame");
  app.add_flag("--checksums", options.checksums, "Print a checksum of every frame's pixels");
  app.add_option("--size", size, "Size of the picture, WIDTHxHEIGHT (640x480)");
  app.add_option("--device", options.device, "Number of the Vulkan device, from 0");
  CLI11_PARSE(app, argc, argv);

  try {
    if (!size.empty()) {
      options.extent = ParseSize(size);
    }
    if (options.output.empty() && !options.checksums) {
      throw Failure("nothing to do; give --output FILE, --checksums or both.");
    }
    if (!options.output.empty() && options.frame_count != 1) {
      throw Failure("--output writes one frame, and " + std::to_string(options.frame_count) +
                    " were asked for.");
    }
    Run(options);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "turntable: %s\n", failure.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace vesper::examples

int main(int argc, char** argv) { return vesper::examples::Main(argc, argv); }
