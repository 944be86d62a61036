// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/headless_window.h"

namespace vesper::client {
namespace {

class HeadlessCanvas : public Canvas {
 public:
  VkResult Show(uint32_t, std::span<const VkRect2D>) override { return VK_SUCCESS; }
};

class HeadlessWindow : public NativeWindow {
 public:
  VkResult GetSizes(Sizes* sizes) override {
    constexpr uint32_t kAny = 0xFFFF'FFFF;
    *sizes = {{kAny, kAny}, {1, 1}, {1u << 15, 1u << 15}};  // the least that Vulkan 1.4 has
    return VK_SUCCESS;
  }
  std::span<const VkFormat> formats() const override { return {}; }
  bool IsSeen() const override { return false; }
  std::unique_ptr<Canvas> Open(const Pictures&) override {
    return std::make_unique<HeadlessCanvas>();
  }
};

}  // namespace

std::unique_ptr<NativeWindow> MakeHeadlessWindow() { return std::make_unique<HeadlessWindow>(); }

}  // namespace vesper::client
