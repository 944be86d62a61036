// SPDX-License-Identifier: Apache-2.0
//
// What Vulkan says about window systems, without the headers of any: their types are names here,
// as opaque to the driver's other files as they are to Vulkan.
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>

struct xcb_connection_t;
using xcb_window_t = uint32_t;
using xcb_visualid_t = uint32_t;
struct wl_display;
struct wl_surface;
struct _XDisplay;
using Display = _XDisplay;
using Window = unsigned long;    // NOLINT(google-runtime-int): as in X11/X.h
using VisualID = unsigned long;  // NOLINT(google-runtime-int)

// Each needs the types above.
#include <vulkan/vulkan_wayland.h>
#include <vulkan/vulkan_xcb.h>
#include <vulkan/vulkan_xlib.h>
