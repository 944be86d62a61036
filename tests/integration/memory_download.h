// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_INTEGRATION_MEMORY_DOWNLOAD_H_
#define VESPER_TESTS_INTEGRATION_MEMORY_DOWNLOAD_H_

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>

#include "tests/framework/memory_tier.h"
#include "tests/framework/relay.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {

inline constexpr VkDeviceSize kMiB = 1 << 20;
// How often the device writes before what nobody reads is deferred, and some more.
inline constexpr uint32_t kUntilDeferred = 8;

// A device behind a relay that counts, and a guest that fetches what it rarely reads.
class MemoryDownloadTest : public VesperOnlyTest {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    // Who waits for itself is ended, rather than the whole run's time-out.
    alarm(120);
    near_ = getenv("VESPER_SERVER");
    const char* mode = getenv("VESPER_DOWNLOAD");
    old_mode_ = mode == nullptr ? "" : mode;
    SetMode("lazy");
    const std::string line = DownloadsInLog(LogOfAnInstance());
    if (line.find("rarely reads") == std::string::npos) {
      GTEST_SKIP() << "This machine or this tier has no downloads on first touch: " << line;
    }
  }
  void TearDown() override {
    gpu_.Close();
    if (relay_ != nullptr) {
      UseDriver(target_, near_);
      relay_.reset();
    }
    if (!near_.empty()) {
      SetMode(old_mode_);
    }
    alarm(0);
  }

  static void SetMode(const std::string& mode) { setenv("VESPER_DOWNLOAD", mode.c_str(), 1); }

  void Open(const std::string& mode = "lazy") {
    SetMode(mode);
    relay_ = std::make_unique<Relay>(near_);
    UseDriver(target_, relay_->endpoint());
    gpu_.Open();
  }

  // Two values differ in each byte of the word.
  static uint32_t Word(uint32_t value) { return (value & 0xff) * 0x01010101; }
  // Fills a buffer, and waits until it is done.
  void Fill(const Buffer& buffer, uint32_t value, VkDeviceSize offset = 0,
            VkDeviceSize size = VK_WHOLE_SIZE) {
    gpu_.Execute([&](VkCommandBuffer commands) {
      gpu_.vk.CmdFillBuffer(commands, buffer.handle, offset, size, Word(value));
    });
  }
  // The device writes until it is deferred.
  void FillUntilDeferred(const Buffer& buffer) {
    for (uint32_t i = 1; i <= kUntilDeferred; ++i) {
      Fill(buffer, i);
    }
  }
  // Bytes from the host while `body` runs.
  template <typename Body>
  uint64_t BytesBack(const Body& body) {
    const uint64_t before = relay_->bytes_back();
    body();
    return relay_->bytes_back() - before;
  }
  static bool Holds(const uint8_t* data, size_t size, uint32_t value) {
    const auto* words = reinterpret_cast<const uint32_t*>(data);
    return std::all_of(words, words + size / 4,
                       [value](uint32_t word) { return word == Word(value); });
  }
  static bool Holds(const Buffer& buffer, uint32_t value) {
    return Holds(buffer.data, buffer.size, value);
  }

  std::string near_;
  std::string old_mode_;
  std::unique_ptr<Relay> relay_;
  Gpu gpu_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_INTEGRATION_MEMORY_DOWNLOAD_H_
