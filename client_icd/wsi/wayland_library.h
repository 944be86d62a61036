// SPDX-License-Identifier: Apache-2.0
//
// libwayland-client, loaded when the first surface of a Wayland window is made. The protocol's own
// functions are inline ones over these, and name the library's data; so requests are written out
// here, by their numbers in the protocol, which never change.
#pragma once

#include <wayland-client-core.h>

#include <memory>

namespace vesper::client {

#define VESPER_WAYLAND_FUNCTIONS(X) \
  X(display_create_queue)           \
  X(display_dispatch_queue_pending) \
  X(display_flush)                  \
  X(display_get_error)              \
  X(display_get_fd)                 \
  X(display_prepare_read_queue)     \
  X(display_read_events)            \
  X(display_cancel_read)            \
  X(display_roundtrip_queue)        \
  X(event_queue_destroy)            \
  X(proxy_add_listener)             \
  X(proxy_create_wrapper)           \
  X(proxy_destroy)                  \
  X(proxy_get_version)              \
  X(proxy_marshal_flags)            \
  X(proxy_set_queue)                \
  X(proxy_wrapper_destroy)

/// The functions under their own names without "wl_". Never closed.
struct WaylandLibrary {
  /// Null, with a sentence on stderr, if the library is not there.
  static std::shared_ptr<const WaylandLibrary> Load();

#define VESPER_DECLARE(name) decltype(&::wl_##name) name = nullptr;
  VESPER_WAYLAND_FUNCTIONS(VESPER_DECLARE)
#undef VESPER_DECLARE
  const wl_interface* registry_interface = nullptr;
  const wl_interface* shm_interface = nullptr;
  const wl_interface* shm_pool_interface = nullptr;
  const wl_interface* buffer_interface = nullptr;
};

}  // namespace vesper::client
