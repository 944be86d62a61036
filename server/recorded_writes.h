// SPDX-License-Identifier: Apache-2.0
//
// What recorded commands may write, noted while they are replayed into the real command buffers.
// Which class a command belongs to is data (policy.toml, [[writes]]); what those of class *exact*
// name is here.
#pragma once

#include <vulkan/vulkan_core.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "server/invoke.h"
#include "server/write_set.h"

namespace vesper::server {

class HostDescriptors;
class HostResources;
struct HostSet;

/// The write sets of a device's command buffers. Those of different command pools may be used by
/// different threads. One uses command buffers of several pools if nobody else uses them then.
/// Several may submit the same one.
class RecordedWrites {
 public:
  /// What was recorded into one command buffer.
  struct Recording {
    std::shared_ptr<WriteSet> set;  // without what the bound descriptor sets lead to
    bool is_shared = false;         // other threads look at it
    std::unordered_set<std::shared_ptr<HostSet>> bound;
    // With what they lead to, at a version of the device's descriptors.
    std::shared_ptr<const WriteSet> resolved;
    uint64_t resolved_version = 0;
  };

  RecordedWrites(const HostResources& resources, const HostDescriptors& descriptors)
      : resources_(resources), descriptors_(descriptors) {}

  /// A query in a render pass of several views takes as many queries; the most that there may be.
  void SetViews(uint32_t views) { views_ = views; }
  /// Recording begins: nothing is written yet.
  void Begin(VkCommandBuffer buffer);
  /// The command buffer is gone.
  void Forget(VkCommandBuffer buffer);
  /// A command of a class that may write was recorded. `args` is its Args struct.
  void Note(uint16_t command, Writes writes, const void* args);
  /// The same, if the command buffer's recording was looked up before.
  void Note(uint16_t command, Writes writes, const void* args, Recording& recording);
  /// Until Forget(); other threads may not touch the command buffer meanwhile.
  Recording& RecordingOf(VkCommandBuffer buffer) { return FindOrAdd(buffer); }
  /// What the command buffer may write when it runs, with descriptors as they are now; null for
  /// nothing. The set doesn't change any more, whatever becomes of the command buffer.
  std::shared_ptr<const WriteSet> Submitted(VkCommandBuffer buffer);

 private:
  /// Some of the recordings, so that threads rarely meet. The lock is for the map.
  struct Part {
    std::mutex mutex;
    std::unordered_map<VkCommandBuffer, Recording> recordings;
  };

  Part& PartOf(VkCommandBuffer buffer);
  /// Null if it is not known.
  Recording* Find(VkCommandBuffer buffer);
  Recording& FindOrAdd(VkCommandBuffer buffer);
  static void MakeWritable(Recording& recording);
  void NoteExact(uint16_t command, const void* args, Recording& recording);
  void NoteDescriptors(uint16_t command, const void* args, Recording& recording);
  void NoteBound(const VkDescriptorSet* sets, uint32_t count, Recording& recording);
  void NotePushed(const VkWriteDescriptorSet* writes, uint32_t count, WriteSet& set);
  void NoteSecondaries(const void* args, Recording& recording);
  std::shared_ptr<const WriteSet> Resolve(const Recording& recording) const;

  const HostResources& resources_;
  const HostDescriptors& descriptors_;
  uint32_t views_ = 1;
  std::array<Part, 32> parts_;
};

}  // namespace vesper::server
