// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/presenter.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <numeric>
#include <utility>

#include "client_icd/device.h"
#include "client_icd/session.h"
#include "client_icd/wait.h"
#include "transport/quiet_thread.h"

namespace vesper::client {
namespace {

/// More rectangles than this are as good as everything.
constexpr size_t kMaxDamage = 64;

}  // namespace

Presenter::Presenter(Device& device, std::unique_ptr<Canvas> canvas, uint32_t image_count,
                     bool is_paced)
    : device_(device), session_(device.session()), canvas_(std::move(canvas)), is_paced_(is_paced) {
  free_.resize(image_count);
  std::iota(free_.begin(), free_.end(), 0u);
}

Presenter::~Presenter() {
  if (!thread_.joinable()) {
    return;
  }
  if (::getpid() != process_) {
    thread_.detach();  // the parent's, and so may be the lock
    return;
  }
  {
    const std::lock_guard lock(session_.progress_mutex());
    is_stopping_ = true;
    session_.NotifyProgress();
  }
  thread_.join();
}

VkResult Presenter::StatusLocked() const {
  if (device_.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  return status_;
}

VkResult Presenter::Status() {
  if (device_.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  const std::lock_guard lock(session_.progress_mutex());
  return StatusLocked();
}

VkResult Presenter::Acquire(uint64_t timeout, uint32_t* image) {
  if (device_.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  session_.Flush();
  Lock lock(session_.progress_mutex());
  const auto cannot = [this] { return is_retired_ || StatusLocked() < 0; };
  session_.WaitForProgress(lock, Deadline(timeout), [&] { return !free_.empty() || cannot(); });
  if (cannot()) {
    return StatusLocked() < 0 ? StatusLocked() : VK_ERROR_OUT_OF_DATE_KHR;
  }
  if (free_.empty()) {
    return timeout == 0 ? VK_NOT_READY : VK_TIMEOUT;
  }
  *image = free_.front();
  free_.erase(free_.begin());
  return StatusLocked();
}

void Presenter::Release(std::span<const uint32_t> images) {
  if (device_.IsLost()) {
    return;
  }
  const std::lock_guard lock(session_.progress_mutex());
  free_.insert(free_.end(), images.begin(), images.end());
  session_.NotifyProgress();
}

VkResult Presenter::Present(Presentation presentation) {
  if (device_.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  if (!thread_.joinable()) {
    process_ = ::getpid();
    thread_ = transport::StartQuietThread([this] {
      try {
        Run();
      } catch (const std::bad_alloc&) {
        session_.Lose("memory is out");
      }
    });
    ::pthread_setname_np(thread_.native_handle(), "vesper-present");
  }
  const std::lock_guard lock(session_.progress_mutex());
  queue_.push_back(std::move(presentation));
  session_.NotifyProgress();
  return StatusLocked();
}

VkResult Presenter::WaitFor(uint64_t id, uint64_t timeout) {
  if (device_.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  session_.Flush();
  Lock lock(session_.progress_mutex());
  session_.WaitForProgress(lock, Deadline(timeout),
                           [&] { return shown_id_ >= id || StatusLocked() < 0; });
  if (shown_id_ >= id) {
    return StatusLocked() < 0 ? VK_SUCCESS : StatusLocked();
  }
  return StatusLocked() < 0 ? StatusLocked() : VK_TIMEOUT;
}

void Presenter::Retire() {
  if (device_.IsLost()) {
    return;
  }
  const std::lock_guard lock(session_.progress_mutex());
  is_retired_ = true;
  session_.NotifyProgress();
}

// -- the thread -----------------------------------------------------------------------------------

bool Presenter::IsCopied(const Presentation& presentation) {
  return presentation.queue->reached.load() >= presentation.batch;
}

void Presenter::DropReplaced() {
  while (queue_.size() > 1 && queue_[0].mode == VK_PRESENT_MODE_MAILBOX_KHR &&
         queue_[1].mode == VK_PRESENT_MODE_MAILBOX_KHR && IsCopied(queue_[1])) {
    Finish(VK_NOT_READY);
  }
}

Presenter::Clock::time_point Presenter::NextRefresh(VkPresentModeKHR mode) const {
  const Clock::time_point now = Clock::now();
  const Clock::time_point next = last_refresh_ + refresh_period_;
  if (!is_paced_ || mode == VK_PRESENT_MODE_IMMEDIATE_KHR || last_refresh_ == Clock::time_point() ||
      (mode == VK_PRESENT_MODE_FIFO_RELAXED_KHR && now >= next)) {
    return now;
  }
  return now <= next ? next
                     : next + (now - next + refresh_period_ - std::chrono::nanoseconds(1)) /
                                  refresh_period_ * refresh_period_;
}

bool Presenter::WaitForPicture(Lock& lock) {
  const auto is_lost = [this] { return device_.IsLost(); };
  session_.WaitForProgress(lock, Clock::time_point::max(),
                           [&] { return is_lost() || IsCopied(queue_.front()); });
  if (is_lost()) {
    return false;
  }
  DropReplaced();
  const Clock::time_point refresh = NextRefresh(queue_.front().mode);
  if (queue_.front().mode != VK_PRESENT_MODE_IMMEDIATE_KHR && is_paced_) {
    session_.WaitForProgress(lock, refresh, [&] {
      DropReplaced();
      return is_lost();
    });
  }
  last_refresh_ = refresh;
  return true;
}

void Presenter::Finish(VkResult shown) {
  Presentation done = std::move(queue_.front());
  queue_.pop_front();
  shown_id_ = std::max(shown_id_, done.id);
  free_.push_back(done.image);
  if (shown == VK_NOT_READY) {
    is_all_damaged_ =
        is_all_damaged_ || done.damage.empty() || damage_.size() + done.damage.size() > kMaxDamage;
    damage_.insert(damage_.end(), done.damage.begin(), done.damage.end());
  } else {
    damage_.clear();
    is_all_damaged_ = false;
    // A window that is gone, or has another size, stays so for this swapchain.
    if (status_ >= 0) {
      status_ = shown;
    }
  }
  session_.NotifyProgress();
}

void Presenter::Run() {
  Lock lock(session_.progress_mutex());
  for (;;) {
    session_.WaitForProgress(lock, Clock::time_point::max(), [this] {
      return !queue_.empty() || is_stopping_ || device_.IsLost();
    });
    if (queue_.empty()) {
      if (is_stopping_) {
        return;
      }
    } else if (!device_.IsLost() && WaitForPicture(lock)) {
      const Presentation& next = queue_.front();
      const uint32_t image = next.image;
      std::vector<VkRect2D> damage;
      if (!is_all_damaged_ && !next.damage.empty()) {
        damage = damage_;
        damage.insert(damage.end(), next.damage.begin(), next.damage.end());
      }
      const bool can_show = status_ >= 0;
      lock.unlock();
      const VkResult shown = can_show ? canvas_->Show(image, damage) : status_;
      refresh_period_ = canvas_->RefreshPeriod();
      lock.lock();
      Finish(shown);
      continue;
    }
    if (device_.IsLost()) {
      return;  // whoever waits hears of it
    }
  }
}

}  // namespace vesper::client
