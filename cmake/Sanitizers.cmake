# SPDX-License-Identifier: Apache-2.0
# VESPER_SANITIZE applies to everything at once: objects with and without a sanitizer don't mix.
if(VESPER_SANITIZE)
  add_compile_options(-fsanitize=${VESPER_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${VESPER_SANITIZE})
endif()
if(VESPER_FUZZ)
  # Not `enum`: numbers that a hostile guest puts where Vulkan has an enum pass through to the driver
  # as they are, and Vulkan's enums are C's.
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=enum
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()
