// SPDX-License-Identifier: Apache-2.0
//
// What recorded commands may write, noted while they are replayed into the real command buffers.
// Which class a command belongs to is data (policy.toml, [[writes]]); what those of class *exact*
// name is here.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "server/invoke.h"
#include "server/write_set.h"

namespace vesper::server {

class HostResources;

/// The write sets of a device's command buffers. Not thread-safe: the session's thread only.
class RecordedWrites {
 public:
  explicit RecordedWrites(const HostResources& resources) : resources_(resources) {}

  /// Recording begins: nothing is written yet.
  void Begin(VkCommandBuffer buffer);
  /// The command buffer is gone.
  void Forget(VkCommandBuffer buffer);
  /// A command of a class that may write was recorded. `args` is its Args struct.
  void Note(uint16_t command, Writes writes, const void* args);
  /// What the command buffer may write when it runs; null for nothing. The set doesn't change any
  /// more, whatever becomes of the command buffer.
  std::shared_ptr<const WriteSet> Submitted(VkCommandBuffer buffer);

 private:
  struct Recording {
    std::shared_ptr<WriteSet> set;
    bool is_shared = false;  // other threads look at it
  };

  WriteSet& SetOf(VkCommandBuffer buffer);
  void NoteExact(uint16_t command, const void* args, WriteSet& set);
  void NoteSecondaries(const void* args, WriteSet& set);

  const HostResources& resources_;
  std::unordered_map<VkCommandBuffer, Recording> recordings_;
};

}  // namespace vesper::server
