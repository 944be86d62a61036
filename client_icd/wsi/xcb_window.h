// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "client_icd/wsi/native_window.h"
#include "client_icd/wsi/platforms.h"

namespace vesper::client {

/// A window of an X server, on the program's connection. Null without libxcb or connection.
std::unique_ptr<NativeWindow> MakeXcbWindow(xcb_connection_t* connection, xcb_window_t window);

/// The connection behind one of Xlib's; null without libX11-xcb.
xcb_connection_t* XcbConnectionOf(Display* display);

/// True if windows with that visual can be presented to.
bool IsVisualShown(xcb_connection_t* connection, xcb_visualid_t visual);

}  // namespace vesper::client
