// SPDX-License-Identifier: Apache-2.0
//
// Windows of a Wayland compositor, through wl_shm. The compositor keeps what it was given until it
// says that it does not need it any more, which may be when the next picture is there. So each
// picture is copied into a buffer that is shared with the compositor and free, of a few; images of
// the swapchain never wait for the compositor.
//
// Events come through a queue of this swapchain's own, on the program's connection. Waits for them
// end: a hidden window may get none.
#include "client_icd/wsi/wayland_window.h"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "client_icd/wsi/wayland_library.h"
#include "transport/shared_file.h"
#include "transport/unique_fd.h"

namespace vesper::client {
namespace {

// Requests by their numbers in wayland.xml.
constexpr uint32_t kDisplayGetRegistry = 1;
constexpr uint32_t kRegistryBind = 0;
constexpr uint32_t kShmCreatePool = 0;
constexpr uint32_t kPoolCreateBuffer = 0;
constexpr uint32_t kPoolDestroy = 1;
constexpr uint32_t kBufferDestroy = 0;
constexpr uint32_t kSurfaceAttach = 1;
constexpr uint32_t kSurfaceDamage = 2;
constexpr uint32_t kSurfaceCommit = 6;
constexpr uint32_t kSurfaceDamageBuffer = 9;
constexpr uint32_t kDamageBufferVersion = 4;
/// wl_shm's formats that every compositor has: blue first, as Vulkan's B8G8R8A8.
constexpr uint32_t kArgb = 0;
constexpr uint32_t kXrgb = 1;

constexpr std::array kFormats = {VK_FORMAT_B8G8R8A8_SRGB, VK_FORMAT_B8G8R8A8_UNORM};
constexpr uint32_t kMaxSide = 32767;
/// One that is seen, one that is about to be, one to write.
constexpr size_t kBuffers = 3;
/// A compositor that takes longer to give a buffer back gets another picture in the oldest.
constexpr std::chrono::milliseconds kPatience{200};

class WaylandCanvas : public Canvas {
 public:
  WaylandCanvas(std::shared_ptr<const WaylandLibrary> library, wl_display* display,
                wl_surface* surface, const Pictures& pictures)
      : wl_(std::move(library)),
        display_(display),
        surface_(reinterpret_cast<wl_proxy*>(surface)),
        pictures_(pictures),
        queue_(wl_->display_create_queue(display)) {}

  ~WaylandCanvas() override {
    for (const Buffer& buffer : buffers_) {
      if (buffer.proxy != nullptr) {
        wl_->proxy_marshal_flags(buffer.proxy, kBufferDestroy, nullptr,
                                 wl_->proxy_get_version(buffer.proxy), WL_MARSHAL_FLAG_DESTROY);
      }
    }
    if (shm_ != nullptr) {
      wl_->proxy_destroy(shm_);
    }
    wl_->display_flush(display_);
    if (queue_ != nullptr) {
      wl_->event_queue_destroy(queue_);
    }
    if (pixels_ != nullptr) {
      ::munmap(pixels_, kBuffers * pictures_.stride);
    }
  }

  /// False if the compositor has no wl_shm, or there is no memory.
  bool Make() {
    if (queue_ == nullptr || kBuffers * pictures_.stride > INT32_MAX) {
      return false;
    }
    FindShm();
    const transport::UniqueFd file(::memfd_create("vesper-wayland", MFD_CLOEXEC));
    const uint64_t bytes = kBuffers * pictures_.stride;
    if (shm_ == nullptr || !file || !transport::MayHaveFileOf(bytes) ||
        ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
      return false;
    }
    void* pixels = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (pixels == MAP_FAILED) {
      return false;
    }
    pixels_ = static_cast<std::byte*>(pixels);
    wl_proxy* pool = wl_->proxy_marshal_flags(shm_, kShmCreatePool, wl_->shm_pool_interface, 1, 0,
                                              nullptr, file.get(), static_cast<int32_t>(bytes));
    if (pool == nullptr) {
      return false;
    }
    static constexpr Release kListener = &WaylandCanvas::OnRelease;
    for (size_t i = 0; i < kBuffers; ++i) {
      buffers_[i].proxy = wl_->proxy_marshal_flags(
          pool, kPoolCreateBuffer, wl_->buffer_interface, 1, 0, nullptr,
          static_cast<int32_t>(i * pictures_.stride), static_cast<int32_t>(pictures_.extent.width),
          static_cast<int32_t>(pictures_.extent.height),
          static_cast<int32_t>(pictures_.row_bytes()), pictures_.is_opaque ? kXrgb : kArgb);
      if (buffers_[i].proxy != nullptr) {
        wl_->proxy_add_listener(buffers_[i].proxy, Listener(&kListener), &buffers_[i]);
      }
    }
    wl_->proxy_marshal_flags(pool, kPoolDestroy, nullptr, 1, WL_MARSHAL_FLAG_DESTROY);
    return std::ranges::all_of(buffers_, [](const Buffer& b) { return b.proxy != nullptr; });
  }

  VkResult Show(uint32_t index, std::span<const VkRect2D> damage) override {
    const size_t at = FreeBuffer();
    if (wl_->display_get_error(display_) != 0) {
      return VK_ERROR_SURFACE_LOST_KHR;
    }
    Buffer& buffer = buffers_[at];
    std::memcpy(pixels_ + at * pictures_.stride, pictures_.At(index),
                pictures_.row_bytes() * pictures_.extent.height);
    buffer.is_busy = true;
    last_ = at;
    const uint32_t version = wl_->proxy_get_version(surface_);
    wl_->proxy_marshal_flags(surface_, kSurfaceAttach, nullptr, version, 0, buffer.proxy, 0, 0);
    if (damage.empty() || version < kDamageBufferVersion) {
      wl_->proxy_marshal_flags(surface_, kSurfaceDamage, nullptr, version, 0, 0, 0, INT32_MAX,
                               INT32_MAX);
    }
    for (const VkRect2D& part : damage) {
      if (version >= kDamageBufferVersion) {
        wl_->proxy_marshal_flags(surface_, kSurfaceDamageBuffer, nullptr, version, 0, part.offset.x,
                                 part.offset.y, static_cast<int32_t>(part.extent.width),
                                 static_cast<int32_t>(part.extent.height));
      }
    }
    wl_->proxy_marshal_flags(surface_, kSurfaceCommit, nullptr, version, 0);
    wl_->display_flush(display_);
    return wl_->display_get_error(display_) == 0 ? VK_SUCCESS : VK_ERROR_SURFACE_LOST_KHR;
  }

 private:
  struct Buffer {
    wl_proxy* proxy = nullptr;
    bool is_busy = false;  // the compositor's
  };
  using Release = void (*)(void*, wl_proxy*);
  struct RegistryListener {
    void (*global)(void*, wl_proxy*, uint32_t, const char*, uint32_t);
    void (*global_remove)(void*, wl_proxy*, uint32_t);
  };

  template <typename T>
  static void (**Listener(const T* functions))(void) {
    return reinterpret_cast<void (**)(void)>(const_cast<T*>(functions));
  }

  static void OnRelease(void* data, wl_proxy*) { static_cast<Buffer*>(data)->is_busy = false; }
  static void OnGlobal(void* data, wl_proxy* registry, uint32_t name, const char* interface,
                       uint32_t) {
    auto& self = *static_cast<WaylandCanvas*>(data);
    if (std::string_view(interface) == "wl_shm" && self.shm_ == nullptr) {
      self.shm_ = self.wl_->proxy_marshal_flags(registry, kRegistryBind, self.wl_->shm_interface, 1,
                                                0, name, interface, 1u, nullptr);
    }
  }

  void FindShm() {
    static constexpr RegistryListener kListener{&WaylandCanvas::OnGlobal,
                                                [](void*, wl_proxy*, uint32_t) {}};
    auto* wrapper = static_cast<wl_proxy*>(wl_->proxy_create_wrapper(display_));
    if (wrapper == nullptr) {
      return;
    }
    wl_->proxy_set_queue(wrapper, queue_);
    wl_proxy* registry = wl_->proxy_marshal_flags(wrapper, kDisplayGetRegistry,
                                                  wl_->registry_interface, 1, 0, nullptr);
    wl_->proxy_wrapper_destroy(wrapper);
    if (registry != nullptr) {
      wl_->proxy_add_listener(registry, Listener(&kListener), this);
      wl_->display_roundtrip_queue(display_, queue_);
      wl_->proxy_destroy(registry);
    }
  }

  /// A buffer that the compositor does not need; after a while the one that it has longest.
  size_t FreeBuffer() {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      wl_->display_dispatch_queue_pending(display_, queue_);
      for (size_t i = 1; i <= kBuffers; ++i) {
        if (!buffers_[(last_ + i) % kBuffers].is_busy) {
          return (last_ + i) % kBuffers;
        }
      }
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now());
      if (left.count() <= 0 || wl_->display_get_error(display_) != 0) {
        return (last_ + 1) % kBuffers;
      }
      Receive(static_cast<int>(left.count()));
    }
  }

  void Receive(int milliseconds) {
    if (wl_->display_prepare_read_queue(display_, queue_) != 0) {
      return;  // there are some already
    }
    wl_->display_flush(display_);
    pollfd descriptor{wl_->display_get_fd(display_), POLLIN, 0};
    if (::poll(&descriptor, 1, milliseconds) > 0) {
      wl_->display_read_events(display_);
    } else {
      wl_->display_cancel_read(display_);
    }
  }

  const std::shared_ptr<const WaylandLibrary> wl_;
  wl_display* const display_;
  wl_proxy* const surface_;
  const Pictures pictures_;
  wl_event_queue* const queue_;
  wl_proxy* shm_ = nullptr;
  std::byte* pixels_ = nullptr;
  std::array<Buffer, kBuffers> buffers_;
  size_t last_ = 0;
};

class WaylandWindow : public NativeWindow {
 public:
  WaylandWindow(std::shared_ptr<const WaylandLibrary> wl, wl_display* display, wl_surface* surface)
      : wl_(std::move(wl)), display_(display), surface_(surface) {}

  VkResult GetSizes(Sizes* sizes) override {
    constexpr uint32_t kAny = 0xFFFF'FFFF;
    *sizes = {{kAny, kAny}, {1, 1}, {kMaxSide, kMaxSide}};
    return wl_->display_get_error(display_) == 0 ? VK_SUCCESS : VK_ERROR_SURFACE_LOST_KHR;
  }
  std::span<const VkFormat> formats() const override { return kFormats; }
  VkCompositeAlphaFlagsKHR composite_alpha() const override {
    return VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR | VK_COMPOSITE_ALPHA_PRE_MULTIPLIED_BIT_KHR;
  }
  bool IsSeen() const override { return true; }
  std::unique_ptr<Canvas> Open(const Pictures& pictures) override {
    auto canvas = std::make_unique<WaylandCanvas>(wl_, display_, surface_, pictures);
    return canvas->Make() ? std::move(canvas) : nullptr;
  }

 private:
  const std::shared_ptr<const WaylandLibrary> wl_;
  wl_display* const display_;
  wl_surface* const surface_;
};

}  // namespace

std::unique_ptr<NativeWindow> MakeWaylandWindow(wl_display* display, wl_surface* surface) {
  auto wl = WaylandLibrary::Load();
  return wl == nullptr ? nullptr : std::make_unique<WaylandWindow>(std::move(wl), display, surface);
}

}  // namespace vesper::client
