// SPDX-License-Identifier: Apache-2.0
//
// The guest's copy of one host-visible allocation, and its twin: what guest and host last agreed
// on. The program writes to the shadow through its pointer whenever it likes; Collect finds what
// changed, Apply brings in what the host pushed. docs/memory.md has the whole argument.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "proto/buffer.h"
#include "proto/object_id.h"

namespace vesper::client {

class Session;

/// Thread-safe: one thread may apply what the host pushed while others collect.
class Shadow {
 public:
  /// `size` in bytes. Valid() is false if the memory could not be had.
  Shadow(proto::ObjectId memory, uint64_t size);
  ~Shadow();
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  bool Valid() const { return live_ != nullptr; }
  std::byte* data() const { return live_; }
  uint64_t size() const { return size_; }

  /// Posts what the program wrote in [offset, offset + size) since the last agreement. When it
  /// returns, the writes are in the stream, whoever found them.
  void Collect(Session& session, VkDevice device, uint64_t offset, uint64_t size);

  /// Writes what the host pushed; false if the patch does not fit.
  bool Apply(std::span<const std::byte> patch);

 private:
  const proto::ObjectId memory_;
  const uint64_t size_;
  std::byte* live_ = nullptr;
  std::byte* twin_ = nullptr;
  // Held from reading the program's bytes until they are in the stream: a second thread that finds
  // nothing left to collect may then rely on their being there.
  std::mutex mutex_;
  proto::Buffer patch_;
};

}  // namespace vesper::client
