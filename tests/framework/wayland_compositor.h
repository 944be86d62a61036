// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_WAYLAND_COMPOSITOR_H_
#define VESPER_TESTS_FRAMEWORK_WAYLAND_COMPOSITOR_H_

#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

struct wl_compositor;
struct wl_display;
struct wl_event_loop;
struct wl_resource;
struct wl_surface;

namespace vesper::tests {

// The least of a Wayland compositor: it has wl_compositor and wl_shm, and remembers every picture
// that a surface is given. It keeps a buffer until the next one comes, as compositors may. Runs in
// a thread of its own. Throws std::runtime_error if it can't be had.
class WaylandCompositor {
 public:
  WaylandCompositor();
  ~WaylandCompositor();
  WaylandCompositor(const WaylandCompositor&) = delete;
  WaylandCompositor& operator=(const WaylandCompositor&) = delete;

  // A program's side, connected to it, and a surface there.
  wl_display* client() const { return client_; }
  wl_surface* surface() const { return client_surface_; }

  // All pictures so far, each 0xRRGGBB row by row.
  std::vector<std::vector<uint32_t>> Pictures();
  // The program is cut off.
  void Stop();

 private:
  friend struct CompositorCalls;

  void Run();

  wl_display* display_ = nullptr;
  wl_display* client_ = nullptr;
  wl_compositor* client_compositor_ = nullptr;
  wl_surface* client_surface_ = nullptr;
  int stop_ = -1;
  std::mutex mutex_;
  std::vector<std::vector<uint32_t>> pictures_;
  wl_resource* pending_ = nullptr;  // attached; the thread's
  wl_resource* shown_ = nullptr;
  std::thread thread_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_WAYLAND_COMPOSITOR_H_
