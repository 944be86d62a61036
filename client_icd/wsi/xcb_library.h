// SPDX-License-Identifier: Apache-2.0
//
// libxcb, loaded when the first surface of an X window is made: a program that has such a window
// has the library, and others need not.
#pragma once

#include <xcb/present.h>
#include <xcb/shm.h>
#include <xcb/xcb.h>
#include <xcb/xcbext.h>

#include <memory>

struct _XDisplay;

namespace vesper::client {

#define VESPER_XCB_FUNCTIONS(X)     \
  X(connection_has_error)           \
  X(get_file_descriptor)            \
  X(get_setup)                      \
  X(get_maximum_request_length)     \
  X(setup_roots_iterator)           \
  X(screen_next)                    \
  X(screen_allowed_depths_iterator) \
  X(depth_next)                     \
  X(depth_visuals_iterator)         \
  X(visualtype_next)                \
  X(setup_pixmap_formats_iterator)  \
  X(format_next)                    \
  X(generate_id)                    \
  X(get_geometry)                   \
  X(get_geometry_reply)             \
  X(get_window_attributes)          \
  X(get_window_attributes_reply)    \
  X(create_gc_checked)              \
  X(free_gc_checked)                \
  X(put_image_checked)              \
  X(flush)                          \
  X(get_extension_data)             \
  X(register_for_special_xge)       \
  X(unregister_for_special_event)   \
  X(poll_for_special_event)         \
  X(request_check)                  \
  X(discard_reply)

/// Those of libxcb-shm.
#define VESPER_XCB_SHM_FUNCTIONS(X) \
  X(shm_query_version)              \
  X(shm_query_version_reply)        \
  X(shm_attach_fd_checked)          \
  X(shm_put_image_checked)          \
  X(shm_detach_checked)

/// Those of libxcb-present.
#define VESPER_XCB_PRESENT_FUNCTIONS(X) \
  X(present_query_version)              \
  X(present_query_version_reply)        \
  X(present_select_input_checked)       \
  X(present_notify_msc_checked)

/// The functions under their own names without "xcb_". Never closed.
struct XcbLibrary {
  /// Null, with a sentence on stderr, if the library is not there.
  static std::shared_ptr<const XcbLibrary> Load();

  bool has_shm = false;  ///< libxcb-shm is there, too
  xcb_extension_t* shm_id = nullptr;
  bool has_present = false;  ///< and libxcb-present
  xcb_extension_t* present_id = nullptr;
#define VESPER_DECLARE(name) decltype(&::xcb_##name) name = nullptr;
  VESPER_XCB_FUNCTIONS(VESPER_DECLARE)
  VESPER_XCB_SHM_FUNCTIONS(VESPER_DECLARE)
  VESPER_XCB_PRESENT_FUNCTIONS(VESPER_DECLARE)
#undef VESPER_DECLARE
};

/// The connection that Xlib uses; null, with a sentence on stderr, without libX11-xcb.
xcb_connection_t* ConnectionOfDisplay(struct _XDisplay* display);

}  // namespace vesper::client
