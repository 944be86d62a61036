// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <map>
#include <mutex>
#include <utility>
#include <vector>

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

  /// Room for `count` pictures; an error if there is none.
  VkResult Make(VkExtent2D extent, VkFormat format, uint32_t count);
  const Pictures& pictures() const { return pictures_; }

  /// The command buffer that copies the image to its picture on queues of that family; null if
  /// memory is out. One thread at a time.
  VkCommandBuffer CopyOf(VkImage image, uint32_t index, uint32_t family);

 private:
  VkResult Bind(VkDeviceSize size);
  VkResult Record(VkCommandBuffer commands, VkImage image, uint32_t index);

  Device& device_;
  Pictures pictures_;
  VkBuffer buffer_ = VK_NULL_HANDLE;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  std::map<uint32_t, VkCommandPool> pools_;                            // by family
  std::map<std::pair<uint32_t, uint32_t>, VkCommandBuffer> recorded_;  // by family and image
};

}  // namespace vesper::client
