// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_OWNED_H_
#define VESPER_TESTS_FRAMEWORK_OWNED_H_

#include <functional>
#include <utility>

namespace vesper::tests {

// A Vulkan handle that is destroyed with its owner. Moves, does not copy. The owner must go before
// the device (or whatever else the destroying function needs) does.
template <typename Handle>
class Owned {
 public:
  Owned() = default;
  Owned(Handle handle, std::function<void(Handle)> destroy)
      : handle_(handle), destroy_(std::move(destroy)) {}
  Owned(Owned&& other) noexcept { *this = std::move(other); }
  Owned& operator=(Owned&& other) noexcept {
    if (this != &other) {
      Reset();
      handle_ = std::exchange(other.handle_, Handle{});
      destroy_ = std::move(other.destroy_);
    }
    return *this;
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { Reset(); }

  void Reset() {
    if (handle_ != Handle{}) {
      destroy_(std::exchange(handle_, Handle{}));
    }
  }

  // Gives the handle up: the caller destroys it.
  Handle Release() { return std::exchange(handle_, Handle{}); }

  Handle get() const { return handle_; }
  const Handle* address() const { return &handle_; }
  operator Handle() const { return handle_; }  // NOLINT: stands in for the handle everywhere.

 private:
  Handle handle_{};
  std::function<void(Handle)> destroy_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_OWNED_H_
