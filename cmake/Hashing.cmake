# SPDX-License-Identifier: Apache-2.0
# vesper_hashing: xxHash, whose functions are inlined where they are used (proto/hash.cpp), and
# BLAKE2 as a static library, so that the guest driver brings no library along
# (docs/adr/0013-the-driver-brings-nothing-along.md).
find_path(VESPER_XXHASH_INCLUDE_DIR xxhash.h)
find_path(VESPER_BLAKE2_INCLUDE_DIR blake2.h)
find_library(VESPER_BLAKE2_LIBRARY NAMES libb2.a)
foreach(found IN ITEMS VESPER_XXHASH_INCLUDE_DIR VESPER_BLAKE2_INCLUDE_DIR VESPER_BLAKE2_LIBRARY)
  if(NOT ${found})
    message(FATAL_ERROR
      "xxHash or BLAKE2 was not found (${found}). Run scripts/setup, or install libxxhash-dev and libb2-dev.")
  endif()
  mark_as_advanced(${found})
endforeach()

add_library(vesper_hashing INTERFACE)
target_include_directories(vesper_hashing SYSTEM INTERFACE
  "${VESPER_XXHASH_INCLUDE_DIR}" "${VESPER_BLAKE2_INCLUDE_DIR}")
target_link_libraries(vesper_hashing INTERFACE "${VESPER_BLAKE2_LIBRARY}")
