// SPDX-License-Identifier: Apache-2.0
//
// What a virtual machine's serial port carries, and what Vulkan makes of it; runs in a guest.
//
//   vm_bench raw PORT    bytes and round trips through a port, with somebody at the other end who
//                        sends back what comes after "ping" and counts what comes after "up"
//   vm_bench vulkan      uploads and round trips of a Vulkan program
//
// Prints figures, one a line: name TAB value.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/common/device.h"
#include "examples/common/failure.h"
#include "examples/common/resources.h"

namespace vesper::bench {
namespace {

using examples::Failure;

constexpr size_t kMessageBytes = 64;
constexpr int kRoundTrips = 300;
constexpr size_t kUploadBytes = 8u << 20;
constexpr int kUploads = 5;
// What the guest's kernel takes at once.
constexpr size_t kBlockBytes = 32u << 10;

// The median time of `count` runs, in seconds.
double Median(int count, const std::function<void()>& run) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    times.push_back(passed.count());
  }
  std::nth_element(times.begin(), times.begin() + count / 2, times.end());
  return times[static_cast<size_t>(count) / 2];
}

// Bytes that don't compress.
void FillWithNoise(std::span<std::byte> bytes, unsigned seed) {
  std::minstd_rand random(seed);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random() >> 8);
  }
}

void PrintRate(const char* name, double seconds) {
  std::printf("%s\t%.2f\n", name, 1e-6 * static_cast<double>(kUploadBytes) / seconds);
}

class Port {
 public:
  explicit Port(const char* path) : fd_(::open(path, O_RDWR | O_CLOEXEC)) {
    if (fd_ < 0) {
      throw Failure(std::string("cannot open ") + path);
    }
  }
  ~Port() { ::close(fd_); }
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  void Write(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_, bytes.data(), std::min(bytes.size(), kBlockBytes));
      if (count <= 0) {
        throw Failure("the port takes nothing");
      }
      bytes = bytes.subspan(static_cast<size_t>(count));
    }
  }
  void Read(std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::read(fd_, bytes.data(), bytes.size());
      if (count <= 0) {
        throw Failure("nothing comes from the port");
      }
      bytes = bytes.subspan(static_cast<size_t>(count));
    }
  }
  // A message that begins with a word, and the answer.
  void Ask(std::string_view word) const {
    std::array<std::byte, kMessageBytes> message{};
    std::memcpy(message.data(), word.data(), word.size());
    Write(message);
    Read(message);
  }

 private:
  int fd_;
};

void MeasurePort(const char* path) {
  const Port port(path);
  std::printf("round trip, us\t%.1f\n", 1e6 * Median(kRoundTrips, [&] { port.Ask("ping"); }));
  std::vector<std::byte> bytes(kUploadBytes);
  FillWithNoise(bytes, 1);
  PrintRate("upload, MB/s", Median(kUploads, [&] {
              port.Ask("up " + std::to_string(kUploadBytes));
              port.Write(bytes);
              std::array<std::byte, kMessageBytes> answer;
              port.Read(answer);
            }));
}

void MeasureVulkan() {
  const examples::Instance instance("vm_bench");
  const examples::Device device(instance, 0);
  const auto& vk = device.commands();
  const auto pool = examples::MakeCommandPool(device);
  const VkCommandBuffer commands = examples::AllocateCommandBuffer(device, pool.get());

  std::printf("round trip, us\t%.1f\n", 1e6 * Median(kRoundTrips, [&] {
                                          vk.ResetCommandPool(device.handle(), pool.get(), 0);
                                          examples::BeginCommands(device, commands);
                                          examples::RunCommands(device, commands);
                                        }));

  const examples::Buffer upload(device, kUploadBytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
                                examples::Placement::kUpload);
  const examples::Buffer there(device, kUploadBytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                               examples::Placement::kDevice);
  // Each its own, since what was uploaded before may travel as a hash.
  std::array<std::vector<std::byte>, kUploads> contents;
  for (unsigned i = 0; i < contents.size(); ++i) {
    contents[i].resize(kUploadBytes);
    FillWithNoise(contents[i], 2 + i);
  }
  auto content = contents.begin();
  PrintRate("upload, MB/s", Median(kUploads, [&] {
              std::ranges::copy(*content++, upload.bytes().begin());
              vk.ResetCommandPool(device.handle(), pool.get(), 0);
              examples::BeginCommands(device, commands);
              const VkBufferCopy all = {0, 0, kUploadBytes};
              vk.CmdCopyBuffer(commands, upload.handle(), there.handle(), 1, &all);
              examples::RunCommands(device, commands);
            }));
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) {
  try {
    const std::string_view mode = argc > 1 ? argv[1] : "";
    if (mode == "raw" && argc == 3) {
      vesper::bench::MeasurePort(argv[2]);
    } else if (mode == "vulkan" && argc == 2) {
      vesper::bench::MeasureVulkan();
    } else {
      throw vesper::examples::Failure("usage: vm_bench raw PORT | vulkan");
    }
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "vm_bench: %s\n", failure.what());
    return 1;
  }
  return 0;
}
