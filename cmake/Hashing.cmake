# SPDX-License-Identifier: Apache-2.0
# vesper_hashing: xxHash, whose functions are inlined where they are used (proto/hash.cpp), so that
# the guest driver brings no library along.
find_path(VESPER_XXHASH_INCLUDE_DIR xxhash.h)
if(NOT VESPER_XXHASH_INCLUDE_DIR)
  message(FATAL_ERROR "xxHash was not found. Run scripts/setup, or install libxxhash-dev.")
endif()
mark_as_advanced(VESPER_XXHASH_INCLUDE_DIR)

add_library(vesper_hashing INTERFACE)
target_include_directories(vesper_hashing SYSTEM INTERFACE "${VESPER_XXHASH_INCLUDE_DIR}")
