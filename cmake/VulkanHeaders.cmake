# SPDX-License-Identifier: Apache-2.0
# Finds Vulkan headers and registry that are new enough, in the local prefix that scripts/setup
# unpacks (bookworm's own are too old) or on the system (trixie and later).
set(VESPER_VULKAN_MINIMUM 309)
set(VESPER_VULKAN_PREFIX "" CACHE PATH "Prefix with include/vulkan and share/vulkan/registry")
foreach(prefix IN ITEMS "${VESPER_VULKAN_PREFIX}" "${CMAKE_SOURCE_DIR}/.deps/usr" /usr/local /usr)
  if(prefix AND EXISTS "${prefix}/include/vulkan/vulkan_core.h"
     AND EXISTS "${prefix}/share/vulkan/registry/vk.xml")
    file(STRINGS "${prefix}/include/vulkan/vulkan_core.h" version_line
         REGEX "^#define VK_HEADER_VERSION [0-9]+")
    string(REGEX MATCH "[0-9]+$" header_version "${version_line}")
    if(header_version GREATER_EQUAL VESPER_VULKAN_MINIMUM)
      set(vulkan_prefix "${prefix}")
      break()
    endif()
  endif()
endforeach()
if(NOT vulkan_prefix)
  message(FATAL_ERROR "Vulkan headers and registry of version 1.4.${VESPER_VULKAN_MINIMUM} or newer "
    "were not found; run scripts/setup, or set VESPER_VULKAN_PREFIX to a prefix that holds them.")
endif()
message(STATUS "Vulkan headers: ${vulkan_prefix} (1.4.${header_version})")
set(VESPER_VULKAN_REGISTRY "${vulkan_prefix}/share/vulkan/registry")
set(VESPER_VULKAN_HEADER_VERSION "${header_version}")
add_library(vesper_vulkan_headers INTERFACE)
target_compile_definitions(vesper_vulkan_headers INTERFACE VK_NO_PROTOTYPES)
if(NOT vulkan_prefix STREQUAL "/usr")
  target_include_directories(vesper_vulkan_headers SYSTEM INTERFACE "${vulkan_prefix}/include")
endif()
