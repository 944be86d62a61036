// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "client_icd/wsi/native_window.h"
#include "client_icd/wsi/platforms.h"

namespace vesper::client {

/// A surface of a Wayland compositor, on the program's connection. Null without the library.
std::unique_ptr<NativeWindow> MakeWaylandWindow(wl_display* display, wl_surface* surface);

}  // namespace vesper::client
