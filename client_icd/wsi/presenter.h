// SPDX-License-Identifier: Apache-2.0
//
// The images of a swapchain between the program and the window. An image is *free*, *acquired* by
// the program, or *queued*: presented, and not yet given back. A thread of the presenter, started
// by the first presentation, takes what is queued in order:
//
//   1. it waits until the queue has reached the batch that copies the image. By then the pixels are
//      in the guest's memory, as with any work of the device (progress.h);
//   2. it waits for the next refresh of the screen, if the mode wants that;
//   3. it shows the picture, and gives the image back.
//
// The program waits for none of this before its next frame, nor does the device: with three images
// two frames are on their way while one is drawn.
//
// Modes (VkPresentModeKHR). FIFO shows each picture, one at each refresh. FIFO_RELAXED does not
// wait if a refresh has passed without a picture. MAILBOX shows at each refresh the newest picture
// that is there, and gives the images of those it replaces back at once. IMMEDIATE shows each as
// soon as it is there. Only MAILBOX drops pictures. The refresh is a clock here, as fast as the
// screen if the window system tells that, else 60 Hz: nobody waits for its events, which stop
// coming when a window is hidden or gone, and a program must not hang for that.
//
// All state is guarded by Session::progress_mutex(): so everybody who waits here also hears of what
// the queue has reached, and of a device or session that is lost. Nothing is shown with it held.
#pragma once

#include <sys/types.h>
#include <vulkan/vulkan_core.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "client_icd/progress.h"
#include "client_icd/wsi/native_window.h"

namespace vesper::client {

class Device;
class Session;

/// One image that is to be shown.
struct Presentation {
  uint32_t image = 0;
  /// Copied when the queue has reached this batch.
  std::shared_ptr<QueueProgress> queue;
  uint64_t batch = 0;
  VkPresentModeKHR mode = VK_PRESENT_MODE_FIFO_KHR;
  uint64_t id = 0;  // of VK_KHR_present_id, or 0
  /// What differs from the presentation before; empty: everything.
  std::vector<VkRect2D> damage;
};

/// Thread-safe.
class Presenter {
 public:
  /// `is_paced`: there is a screen.
  Presenter(Device& device, std::unique_ptr<Canvas> canvas, uint32_t image_count, bool is_paced);
  /// Shows what is queued, and waits for that. In a forked child: forgets it.
  ~Presenter();
  Presenter(const Presenter&) = delete;
  Presenter& operator=(const Presenter&) = delete;

  /// A free image: VK_SUCCESS or VK_SUBOPTIMAL_KHR. VK_NOT_READY or VK_TIMEOUT if there is none
  /// within `timeout` nanoseconds; an error if none may be acquired any more.
  VkResult Acquire(uint64_t timeout, uint32_t* image);
  /// Images that were acquired go back without being shown.
  void Release(std::span<const uint32_t> images);
  /// Queues an acquired image. What is known of the window by now; the image is no longer the
  /// program's whatever that is. Throws if there can be no thread.
  VkResult Present(Presentation presentation);
  /// Waits until a picture with this id, or a later one, has been shown or replaced.
  VkResult WaitFor(uint64_t id, uint64_t timeout);
  /// Another swapchain has the window: nothing can be acquired any more.
  void Retire();
  /// What is known of the window.
  VkResult Status();

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;

  static bool IsCopied(const Presentation& presentation);
  void Run();
  /// Waits until the first that is queued can be shown; drops those that it replaces. False if the
  /// device is lost.
  bool WaitForPicture(Lock& lock);
  void DropReplaced();
  Clock::time_point NextRefresh(VkPresentModeKHR mode) const;
  /// The first that is queued leaves the queue, shown or not.
  void Finish(VkResult shown);
  /// What acquiring or presenting says now, if it is not VK_SUCCESS.
  VkResult StatusLocked() const;

  Device& device_;
  Session& session_;
  const std::unique_ptr<Canvas> canvas_;
  const bool is_paced_;
  std::vector<uint32_t> free_;  // that is free for the longest time first
  std::deque<Presentation> queue_;
  VkResult status_ = VK_SUCCESS;  // of the window
  bool is_retired_ = false;
  bool is_stopping_ = false;
  uint64_t shown_id_ = 0;
  /// What has changed since the last picture that was shown.
  std::vector<VkRect2D> damage_;
  bool is_all_damaged_ = true;
  Clock::time_point last_refresh_{};  // the thread's, as what follows
  RefreshRate::Period refresh_period_ = RefreshRate::kUsual;
  pid_t process_ = 0;  // that has the thread
  std::thread thread_;
};

}  // namespace vesper::client
