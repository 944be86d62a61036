// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "client_icd/wsi/damage.h"
#include "client_icd/wsi/native_window.h"

namespace vesper::client {

class Device;

/// Memory that the host and the guest both see, with a picture for each image of a swapchain, and
/// the recordings that copy them. The device writes there, so that nobody ever reads an image's own
/// memory; what comes to the guest, and how, is decided as for any mapped memory (docs/memory.md):
/// the same pages if it has them, else what has changed. But the guest's program does not have it
/// mapped: nobody looks for stores of its, and nothing is ever kept back until it is looked at.
class PictureMemory {
 public:
  explicit PictureMemory(Device& device) : device_(device) {}
  /// Nothing may be pending that uses it.
  ~PictureMemory();
  PictureMemory(const PictureMemory&) = delete;
  PictureMemory& operator=(const PictureMemory&) = delete;

  /// Room for `count` pictures; an error if there is none. `is_opaque`: whatever their alpha says.
  VkResult Make(VkExtent2D extent, VkFormat format, uint32_t count, bool is_opaque);
  const Pictures& pictures() const { return pictures_; }

  /// An image is presented that differs from the one presented before by this; empty: in all.
  void NoteDamage(std::span<const VkRect2D> damage);
  /// The command buffer that copies the image to its picture on queues of that family: what is
  /// damaged since the last copy of the same image. Null if memory is out. That one must be done.
  /// One thread at a time.
  VkCommandBuffer CopyOf(VkImage image, uint32_t index, uint32_t family);
  /// Copies may have been lost: each image is copied as a whole the next time.
  void Forget();

 private:
  /// Recordings of one family of queues for one image.
  struct Copies {
    VkCommandBuffer whole = VK_NULL_HANDLE;
    VkCommandBuffer damaged = VK_NULL_HANDLE;
  };

  VkResult Bind(VkDeviceSize size);
  /// Tells the host what the memory is for. `is_lossy`: and that it may send JPEG, which is
  /// unpacked to `begin` on.
  void Describe(std::byte* begin, bool is_lossy);
  /// True if queues of that family can copy any part of an image.
  bool CopiesParts(uint32_t family) const;
  VkCommandBuffer Allocate(uint32_t family);
  VkResult Record(VkCommandBuffer commands, VkImage image, uint32_t index,
                  std::span<const VkRect2D> parts);

  Device& device_;
  Pictures pictures_;
  VkBuffer buffer_ = VK_NULL_HANDLE;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  std::vector<Damage> damage_;               // of each picture, since its last copy
  std::map<uint32_t, VkCommandPool> pools_;  // by family
  std::map<std::pair<uint32_t, uint32_t>, Copies> recorded_;  // by family and image
};

}  // namespace vesper::client
