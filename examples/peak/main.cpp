// SPDX-License-Identifier: Apache-2.0
//
// peak: how much a device computes and copies. Arithmetic in every type that shaders know, and
// copies through mapped memory, buffers and images. Unlike most programs of its kind it looks at
// each result. Results go to stdout and are the same on each device that has the same types; speeds
// go to stderr.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <exception>

#include "examples/common/device.h"
#include "examples/common/failure.h"
#include "examples/peak/arithmetic.h"
#include "examples/peak/copies.h"

namespace vesper::examples {
namespace {

struct Options {
  uint32_t rounds = 2048;
  uint32_t invocations = 256;
  uint32_t megabytes = 16;
  uint32_t passes = 1;
};

void Run(const Options& options) {
  const Instance instance("peak");
  const Device device(
      instance, 0, {.float16 = true, .float64 = true, .int8 = true, .int16 = true, .int64 = true});
  for (uint32_t pass = 0; pass < options.passes; ++pass) {
    RunArithmetic(device, options.invocations * 1024, options.rounds);
    RunCopies(device, uint64_t{options.megabytes} << 20);
  }
  std::fprintf(stderr, "peak: ran on %s\n", device.name().c_str());
}

}  // namespace
}  // namespace vesper::examples

int main(int argc, char** argv) {
  CLI::App app{"Computes and copies with Vulkan, checks every result, and says how fast it was."};
  vesper::examples::Options options;
  app.add_option("--rounds", options.rounds, "steps of each chain of operations")
      ->capture_default_str();
  app.add_option("--invocations", options.invocations, "chains, in units of 1024")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  app.add_option("--megabytes", options.megabytes, "how many MiB are copied: 4, 16, 64, 256...")
      ->capture_default_str()
      ->check(CLI::IsMember({4, 16, 64, 256, 1024}));
  app.add_option("--passes", options.passes, "how often all is done")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    vesper::examples::Run(options);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "peak: %s\n", failure.what());
    return 1;
  }
  return 0;
}
