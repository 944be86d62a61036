// SPDX-License-Identifier: Apache-2.0
//
// Swapchains. The window is the guest's and the images are the host's, so a swapchain is made of
// things that each side has anyway:
//
//   program      vkAcquireNextImageKHR        vkQueuePresentKHR
//                   │ (presenter.h)              │ (present.cpp)
//   guest       a free image; its semaphore    a submission: waits for the program's semaphores,
//               counts as signalled            copies the image to its picture; then, in the
//               (acquired_semaphores.h)        presenter's thread: the pixels are here, show them
//                                                │                      ▲
//   host                                       the GPU copies ───► memory that the guest sees
//                                                                  (picture_memory.h)
//
// Images are ordinary images of the host, made as any others: posted, by the device's own entry
// points. Presenting is posted as well. The pixels come as what the device wrote to any mapped
// memory does, ahead of the progress that says the copy is done: the same pages on one machine, and
// over a network the bytes that differ from what this picture held before. So the program waits for
// nobody, and neither do the frames of each other: several are under way, as many as it has images.
//
// The host's driver is never told of any of this and needs no extension for it. The one thing of a
// swapchain that travels, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR, travels as
// VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL.
//
// To end a swapchain is to wait until what it presented has been shown, since the copies use what
// goes with it.
#pragma once

#include <vulkan/vulkan_core.h>

#include <memory>
#include <span>
#include <vector>

#include "client_icd/object.h"
#include "client_icd/wsi/picture_memory.h"
#include "client_icd/wsi/presenter.h"
#include "client_icd/wsi/surface.h"

namespace vesper::client {

class Device;

/// A VkSwapchainKHR. The program synchronises it.
class Swapchain {
 public:
  static Swapchain* Find(Device& device, VkSwapchainKHR swapchain);

  Swapchain(Device& device, const Allocator& callbacks);
  ~Swapchain();
  Swapchain(const Swapchain&) = delete;
  Swapchain& operator=(const Swapchain&) = delete;

  /// Makes the images and what shows them; an error leaves an object that can be deleted.
  VkResult Make(const VkSwapchainCreateInfoKHR& info, Surface& surface);

  const std::vector<VkImage>& images() const { return images_; }
  /// The memory behind an image, from its beginning.
  VkDeviceMemory memory(uint32_t index) const { return memories_[index]; }
  Presenter& presenter() { return *presenter_; }
  VkPresentModeKHR mode() const { return mode_; }
  void SetMode(VkPresentModeKHR mode) { mode_ = mode; }

  /// What copies the image to where it is shown from; null if nobody looks at it.
  bool NeedsCopy() const { return pictures_ != nullptr; }
  /// `damage`: what differs from the image presented before; empty: everything.
  VkCommandBuffer CopyOf(uint32_t index, uint32_t family, std::span<const VkRect2D> damage) {
    pictures_->NoteDamage(damage);
    return pictures_->CopyOf(images_[index], index, family);
  }
  /// What CopyOf has given out was not submitted.
  void ForgetCopies() {
    if (pictures_ != nullptr) {
      pictures_->Forget();
    }
  }

  const Allocator allocator;
  VkSurfaceKHR surface = VK_NULL_HANDLE;

 private:
  VkResult MakeImages(const VkSwapchainCreateInfoKHR& info);

  Device& device_;
  VkPresentModeKHR mode_ = VK_PRESENT_MODE_FIFO_KHR;
  std::vector<VkImage> images_;
  std::vector<VkDeviceMemory> memories_;
  std::unique_ptr<PictureMemory> pictures_;  // null: nobody looks at them
  std::unique_ptr<Presenter> presenter_;     // keep last: it uses what is above
};

/// How the program's own image is made that is to be bound to an image of a swapchain: as those
/// are. `info` has VkImageSwapchainCreateInfoKHR in its chain.
void MakeLikeSwapchainImage(VkImageCreateInfo& info);

}  // namespace vesper::client
