// SPDX-License-Identifier: Apache-2.0
// A program that uses Vulkan while it writes random bytes over the memory that its driver shares
// with the host: scribbling_program SEED. It ends when its session does, in whatever way.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>

#include "tests/framework/random.h"
#include "tests/framework/resources.h"

namespace vesper::tests {
namespace {

constexpr size_t kWordsBytes = 8192;  // of the file, before the rings' own bytes

/// The first mapping whose name has this in it.
std::span<uint8_t> FindMapping(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(name) != std::string::npos) {
      size_t dash = 0;
      const uintptr_t begin = std::stoull(line, &dash, 16);
      const uintptr_t end = std::stoull(line.substr(dash + 1), nullptr, 16);
      return {reinterpret_cast<uint8_t*>(begin), end - begin};
    }
  }
  return {};
}

void Scribble(std::span<uint8_t> shared, uint64_t seed) {
  Random random(seed);
  const std::span<uint8_t> words = shared.first(kWordsBytes);
  const std::span<uint8_t> bytes = shared.subspan(kWordsBytes);
  // What wild numbers end at once is not all; so some only change what is under way.
  const uint64_t kind = random.Below(4);
  for (;;) {
    if (kind != 1) {
      // Where the first rounds of the rings are: they begin at the front.
      const size_t half = bytes.size() / 2;
      const size_t place = random.Below(64u << 10) + (random.OneIn(2) ? half : 0);
      bytes[place] = static_cast<uint8_t>(random.Next());
    }
    if (kind == 0 || kind == 1) {
      words[random.Below(kind == 0 ? words.size() : 1024)] = static_cast<uint8_t>(random.Next());
    } else if (kind == 2) {
      words[4096 + random.Below(4096)] = static_cast<uint8_t>(random.Next());  // the progress page
    }
    if (random.OneIn(4)) {
      std::this_thread::sleep_for(std::chrono::microseconds(random.Below(200)));
    }
  }
}

int Run(uint64_t seed) {
  Gpu gpu;
  gpu.Open();
  const Buffer buffer = MakeHostBuffer(gpu, 1 << 20);
  const std::span<uint8_t> shared = FindMapping("vesper-rings");
  if (shared.empty()) {
    std::cout << "no rings" << std::endl;
    return 4;
  }
  std::cout << "ready" << std::endl;
  std::thread([=] { Scribble(shared, seed); }).detach();
  Random random(seed + 1);
  for (uint32_t i = 0;; ++i) {
    const Buffer other = MakeHostBuffer(gpu, 64 + random.Below(1 << 16));
    gpu.Execute([&](VkCommandBuffer commands) {
      gpu.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, i);
      gpu.vk.CmdFillBuffer(commands, other.handle, 0, VK_WHOLE_SIZE, i);
    });
    random.Fill({reinterpret_cast<uint8_t*>(buffer.data), 4096});
  }
}

}  // namespace
}  // namespace vesper::tests

int main(int argc, char** argv) {
  try {
    // Without destructors: what they would wait for may never come.
    ::_exit(vesper::tests::Run(argc == 2 ? std::stoull(argv[1]) : 0));
  } catch (const std::exception& error) {
    std::cout << error.what() << std::endl;
    ::_exit(3);
  }
}
