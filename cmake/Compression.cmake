# SPDX-License-Identifier: Apache-2.0
# vesper_compression: LZ4 and zstd as static libraries. The guest driver must not bring libraries
# along (docs/adr/0013-the-driver-brings-nothing-along.md), and what is linked in stays hidden.
find_path(VESPER_LZ4_INCLUDE_DIR lz4.h)
find_library(VESPER_LZ4_LIBRARY NAMES liblz4.a)
find_path(VESPER_ZSTD_INCLUDE_DIR zstd.h)
find_library(VESPER_ZSTD_LIBRARY NAMES libzstd.a)
foreach(found IN ITEMS VESPER_LZ4_INCLUDE_DIR VESPER_LZ4_LIBRARY VESPER_ZSTD_INCLUDE_DIR
        VESPER_ZSTD_LIBRARY)
  if(NOT ${found})
    message(FATAL_ERROR
      "LZ4 or zstd was not found (${found}). Run scripts/setup, or install liblz4-dev and libzstd-dev.")
  endif()
  mark_as_advanced(${found})
endforeach()

add_library(vesper_compression INTERFACE)
target_include_directories(vesper_compression SYSTEM INTERFACE
  "${VESPER_LZ4_INCLUDE_DIR}" "${VESPER_ZSTD_INCLUDE_DIR}")
target_link_libraries(vesper_compression INTERFACE
  "${VESPER_LZ4_LIBRARY}" "${VESPER_ZSTD_LIBRARY}")
