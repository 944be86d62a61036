# SPDX-License-Identifier: Apache-2.0
# vesper_jpeg: libjpeg-turbo as a static library, for the server, which encodes. The guest driver
# needs nothing but the header (VESPER_JPEG_INCLUDE_DIR): it loads the library when it is asked to.
find_path(VESPER_JPEG_INCLUDE_DIR turbojpeg.h)
find_library(VESPER_JPEG_LIBRARY NAMES libturbojpeg.a)
foreach(found IN ITEMS VESPER_JPEG_INCLUDE_DIR VESPER_JPEG_LIBRARY)
  if(NOT ${found})
    message(FATAL_ERROR
      "libjpeg-turbo was not found (${found}). Run scripts/setup, or install libturbojpeg0-dev.")
  endif()
  mark_as_advanced(${found})
endforeach()

add_library(vesper_jpeg INTERFACE)
target_include_directories(vesper_jpeg SYSTEM INTERFACE "${VESPER_JPEG_INCLUDE_DIR}")
target_link_libraries(vesper_jpeg INTERFACE "${VESPER_JPEG_LIBRARY}")
