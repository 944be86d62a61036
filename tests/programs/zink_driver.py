# SPDX-License-Identifier: Apache-2.0
"""How programs that want OpenGL get it from Zink, Mesa's OpenGL on Vulkan."""

# Zink takes a device that is a CPU, as lavapipe is, only where software is asked for.
ZINK = {"LIBGL_ALWAYS_SOFTWARE": "1", "GALLIUM_DRIVER": "zink", "EGL_PLATFORM": "surfaceless"}
ZINK_PACKAGES = ("libegl1", "libegl-mesa0", "libgl1-mesa-dri")
