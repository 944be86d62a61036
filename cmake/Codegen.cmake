# SPDX-License-Identifier: Apache-2.0
# Runs codegen/generate.py at build time. What it reads and writes it tells itself, so the lists
# cannot go stale.
find_program(VESPER_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT VESPER_PYTHON)
  find_program(VESPER_PYTHON NAMES python3 REQUIRED)
endif()
execute_process(COMMAND "${VESPER_PYTHON}" -c "import jinja2, tomllib" RESULT_VARIABLE missing
                ERROR_QUIET)
if(missing)
  message(FATAL_ERROR "${VESPER_PYTHON} cannot import jinja2 and tomllib (Python 3.11 or newer); run "
    "scripts/setup, or set VESPER_PYTHON to one that can.")
endif()

set(VESPER_GEN_DIR "${CMAKE_BINARY_DIR}/gen")
set(generator "${CMAKE_SOURCE_DIR}/codegen/generate.py")
execute_process(COMMAND "${VESPER_PYTHON}" "${generator}" --registry "${VESPER_VULKAN_REGISTRY}"
                        --list-inputs
                OUTPUT_VARIABLE gen_inputs COMMAND_ERROR_IS_FATAL ANY
                OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND "${VESPER_PYTHON}" "${generator}" --list-outputs
                OUTPUT_VARIABLE gen_outputs COMMAND_ERROR_IS_FATAL ANY
                OUTPUT_STRIP_TRAILING_WHITESPACE)
string(REPLACE "\n" ";" gen_inputs "${gen_inputs}")
string(REPLACE "\n" ";" gen_outputs "${gen_outputs}")
list(TRANSFORM gen_outputs PREPEND "${VESPER_GEN_DIR}/")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${generator}")

# The generator leaves unchanged files alone; the stamp is what says that it ran.
add_custom_command(
  OUTPUT "${VESPER_GEN_DIR}/stamp"
  BYPRODUCTS ${gen_outputs}
  COMMAND "${VESPER_PYTHON}" "${generator}" --registry "${VESPER_VULKAN_REGISTRY}"
          --out "${VESPER_GEN_DIR}"
  COMMAND "${CMAKE_COMMAND}" -E touch "${VESPER_GEN_DIR}/stamp"
  DEPENDS ${gen_inputs}
  COMMENT "Generating the codec from the Vulkan registry"
  VERBATIM)
add_custom_target(vesper_codegen DEPENDS "${VESPER_GEN_DIR}/stamp")
