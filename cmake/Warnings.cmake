# SPDX-License-Identifier: Apache-2.0
# vesper_warnings: the language level and the warnings of every target of this project.
add_library(vesper_warnings INTERFACE)
target_compile_features(vesper_warnings INTERFACE cxx_std_20)
target_compile_options(vesper_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers
  -fvisibility=hidden -fvisibility-inlines-hidden -fno-strict-aliasing)
target_include_directories(vesper_warnings INTERFACE "${CMAKE_SOURCE_DIR}")
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_EXTENSIONS OFF)
