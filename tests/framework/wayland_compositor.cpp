// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/wayland_compositor.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wayland-client.h>
#include <wayland-server.h>

#include <cstring>
#include <stdexcept>

namespace vesper::tests {

// What the protocol calls.
struct CompositorCalls {
  static WaylandCompositor& Of(wl_resource* resource) {
    return *static_cast<WaylandCompositor*>(wl_resource_get_user_data(resource));
  }

  static void Attach(wl_client*, wl_resource* surface, wl_resource* buffer, int32_t, int32_t) {
    Of(surface).pending_ = buffer;
  }

  static void Commit(wl_client*, wl_resource* surface) {
    WaylandCompositor& self = Of(surface);
    wl_shm_buffer* buffer = self.pending_ == nullptr ? nullptr : wl_shm_buffer_get(self.pending_);
    if (buffer == nullptr) {
      return;
    }
    const auto width = static_cast<size_t>(wl_shm_buffer_get_width(buffer));
    const auto height = static_cast<size_t>(wl_shm_buffer_get_height(buffer));
    std::vector<uint32_t> picture(width * height);
    wl_shm_buffer_begin_access(buffer);
    for (size_t row = 0; row < height; ++row) {
      const auto* pixels = static_cast<const std::byte*>(wl_shm_buffer_get_data(buffer));
      std::memcpy(&picture[row * width],
                  pixels + row * static_cast<size_t>(wl_shm_buffer_get_stride(buffer)), width * 4);
    }
    wl_shm_buffer_end_access(buffer);
    for (uint32_t& pixel : picture) {
      pixel &= 0xff'ffff;
    }
    if (self.shown_ != nullptr && self.shown_ != self.pending_) {
      wl_buffer_send_release(self.shown_);
    }
    self.shown_ = self.pending_;
    self.pending_ = nullptr;
    const std::lock_guard lock(self.mutex_);
    self.pictures_.push_back(std::move(picture));
  }

  static void Destroy(wl_client*, wl_resource* resource) { wl_resource_destroy(resource); }
  static void Frame(wl_client* client, wl_resource*, uint32_t id) {
    wl_resource* callback = wl_resource_create(client, &wl_callback_interface, 1, id);
    wl_callback_send_done(callback, 0);
    wl_resource_destroy(callback);
  }

  static void CreateSurface(wl_client* client, wl_resource* compositor, uint32_t id) {
    static const struct wl_surface_interface kCalls = [] {
      struct wl_surface_interface calls{};
      calls.destroy = &Destroy;
      calls.attach = &Attach;
      calls.damage = [](wl_client*, wl_resource*, int32_t, int32_t, int32_t, int32_t) {};
      calls.frame = &Frame;
      calls.set_opaque_region = [](wl_client*, wl_resource*, wl_resource*) {};
      calls.set_input_region = [](wl_client*, wl_resource*, wl_resource*) {};
      calls.commit = &Commit;
      calls.set_buffer_transform = [](wl_client*, wl_resource*, int32_t) {};
      calls.set_buffer_scale = [](wl_client*, wl_resource*, int32_t) {};
      calls.damage_buffer = [](wl_client*, wl_resource*, int32_t, int32_t, int32_t, int32_t) {};
      return calls;
    }();
    wl_resource* surface = wl_resource_create(client, &wl_surface_interface, 4, id);
    wl_resource_set_implementation(surface, &kCalls, &Of(compositor), nullptr);
  }

  static void Bind(wl_client* client, void* data, uint32_t, uint32_t id) {
    static const struct wl_compositor_interface kCalls = [] {
      struct wl_compositor_interface calls{};
      calls.create_surface = &CreateSurface;
      return calls;
    }();
    wl_resource* compositor = wl_resource_create(client, &wl_compositor_interface, 4, id);
    wl_resource_set_implementation(compositor, &kCalls, data, nullptr);
  }

  // The program's side.
  static void OnGlobal(void* data, wl_registry* registry, uint32_t name, const char* interface,
                       uint32_t) {
    if (std::strcmp(interface, wl_compositor_interface.name) == 0) {
      static_cast<WaylandCompositor*>(data)->client_compositor_ = static_cast<wl_compositor*>(
          wl_registry_bind(registry, name, &wl_compositor_interface, 4));
    }
  }
};

WaylandCompositor::WaylandCompositor() {
  int ends[2] = {-1, -1};
  display_ = wl_display_create();
  stop_ = ::eventfd(0, EFD_CLOEXEC);
  if (display_ == nullptr || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 ||
      wl_display_init_shm(display_) != 0 ||
      wl_global_create(display_, &wl_compositor_interface, 4, this, &CompositorCalls::Bind) ==
          nullptr ||
      wl_client_create(display_, ends[0]) == nullptr) {
    throw std::runtime_error("the compositor could not be made");
  }
  thread_ = std::thread([this] { Run(); });
  client_ = wl_display_connect_to_fd(ends[1]);
  wl_registry* registry = wl_display_get_registry(client_);
  const wl_registry_listener listener{&CompositorCalls::OnGlobal,
                                      [](void*, wl_registry*, uint32_t) {}};
  wl_registry_add_listener(registry, &listener, this);
  wl_display_roundtrip(client_);
  wl_registry_destroy(registry);
  if (client_compositor_ == nullptr) {
    throw std::runtime_error("the compositor did not answer");
  }
  client_surface_ = wl_compositor_create_surface(client_compositor_);
  wl_display_roundtrip(client_);
}

WaylandCompositor::~WaylandCompositor() {
  wl_surface_destroy(client_surface_);
  wl_compositor_destroy(client_compositor_);
  wl_display_disconnect(client_);
  Stop();
  ::close(stop_);
}

void WaylandCompositor::Stop() {
  if (!thread_.joinable()) {
    return;
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_, &one, sizeof(one));
  thread_.join();
  wl_display_destroy_clients(display_);
  wl_display_destroy(display_);
}

std::vector<std::vector<uint32_t>> WaylandCompositor::Pictures() {
  const std::lock_guard lock(mutex_);
  return pictures_;
}

void WaylandCompositor::Run() {
  wl_event_source* stop = wl_event_loop_add_fd(
      wl_display_get_event_loop(display_), stop_, WL_EVENT_READABLE,
      [](int, uint32_t, void* display) {
        wl_display_terminate(static_cast<wl_display*>(display));
        return 0;
      },
      display_);
  wl_display_run(display_);
  wl_event_source_remove(stop);
}

}  // namespace vesper::tests
