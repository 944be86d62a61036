// SPDX-License-Identifier: Apache-2.0
//
// Which allocations the commands of a command buffer name: through the descriptor sets that are
// bound, pushed descriptors, vertex and index buffers, and the parameters of indirect draws. Which
// commands those are is data (policy.toml, [memory] names); there is a Note for each.
//
// What a descriptor set names is asked when the command buffer is submitted, for it may have been
// updated since it was bound. All of an allocation counts, whatever part of it is named.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "client_icd/object_store.h"
#include "proto/object_id.h"
#include "proto/records_gen.h"
#include "tracking/descriptor_set.h"

namespace vesper::client {

/// A descriptor set, which those who have bound it keep. Thread-safe.
class DescriptorSet {
 public:
  explicit DescriptorSet(std::shared_ptr<const tracking::SetLayout> layout)
      : contents_(std::move(layout)) {}

  proto::ObjectId id = 0;
  size_t place = 0;  ///< in its pool

  void Write(const ObjectStore& store, const VkWriteDescriptorSet& write);
  /// `source` may be null.
  void Copy(const VkCopyDescriptorSet& copy, const DescriptorSet* source);
  /// Appends the allocations to which the set leads now; false if it may lead to any.
  bool AppendTo(std::vector<proto::ObjectId>& memories);

 private:
  tracking::DescriptorSet contents_;
  std::mutex mutex_;
  // What was found at a version of the contents.
  uint64_t version_ = 0;
  bool is_open_ = false;
  std::vector<proto::ObjectId> memories_;
};

class NamedMemory {
 public:
  void Clear();
  void Add(const NamedMemory& other);
  /// Appends the allocations that are named, some of them more than once; false if any may be.
  bool AppendTo(std::vector<proto::ObjectId>& memories) const;

  // One for each command.
  void Note(const ObjectStore& store, const proto::Args_vkCmdBindDescriptorSets& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdBindDescriptorSets2& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdPushDescriptorSet& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdPushDescriptorSet2& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdBindDescriptorBuffersEXT& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdBindVertexBuffers& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdBindVertexBuffers2& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdBindIndexBuffer& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdBindIndexBuffer2& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdDrawIndirect& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdDrawIndexedIndirect& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdDrawIndirectCount& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdDrawIndexedIndirectCount& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdDrawIndirectByteCountEXT& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdDrawMeshTasksIndirectEXT& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdDrawMeshTasksIndirectCountEXT& args);
  void Note(const ObjectStore& store, const proto::Args_vkCmdDispatchIndirect& args);

 private:
  void Open();
  void AddMemory(proto::ObjectId memory);
  void AddBuffer(const ObjectStore& store, VkBuffer buffer);
  void AddBuffers(const ObjectStore& store, const VkBuffer* buffers, uint32_t count);
  void AddSets(const ObjectStore& store, const VkDescriptorSet* sets, uint32_t count);
  void AddSet(const std::shared_ptr<DescriptorSet>& set);
  void AddPushed(const ObjectStore& store, const VkWriteDescriptorSet* writes, uint32_t count);

  bool is_open_ = false;
  std::vector<proto::ObjectId> memories_;
  std::vector<std::shared_ptr<DescriptorSet>> sets_;
};

}  // namespace vesper::client
