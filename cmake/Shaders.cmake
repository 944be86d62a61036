# SPDX-License-Identifier: Apache-2.0
# vesper_add_shaders(target file...): compiles GLSL to SPIR-V at build time and gives the target a
# header for each: shaders/grade.comp becomes "shaders/grade_comp.h", which defines the array
# kGradeComp. A file that a shader includes is a dependency of it by itself.
find_program(VESPER_GLSLANG NAMES glslangValidator glslang)

function(vesper_add_shaders target)
  if(NOT VESPER_GLSLANG)
    message(FATAL_ERROR "glslangValidator was not found; run scripts/setup (Debian has it in the "
      "package glslang-tools), or build without the samples (-DVESPER_BUILD_EXAMPLES=OFF).")
  endif()
  set(output_dir "${CMAKE_CURRENT_BINARY_DIR}/generated/${target}")
  foreach(source IN LISTS ARGN)
    cmake_path(GET source FILENAME name)
    string(REPLACE "." "_" name "${name}")
    # grade_comp -> kGradeComp
    string(REPLACE "_" ";" words "${name}")
    set(variable "k")
    foreach(word IN LISTS words)
      string(SUBSTRING "${word}" 0 1 first)
      string(SUBSTRING "${word}" 1 -1 rest)
      string(TOUPPER "${first}" first)
      string(APPEND variable "${first}${rest}")
    endforeach()
    set(header "${output_dir}/shaders/${name}.h")
    add_custom_command(
      OUTPUT "${header}"
      COMMAND "${CMAKE_COMMAND}" -E make_directory "${output_dir}/shaders"
      COMMAND "${VESPER_GLSLANG}" -V --quiet --target-env vulkan1.3 --vn ${variable}
              --depfile "${header}.d" -o "${header}" "${CMAKE_CURRENT_SOURCE_DIR}/${source}"
      DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${source}"
      DEPFILE "${header}.d"
      COMMENT "Compiling shader ${source}"
      VERBATIM)
    target_sources(${target} PRIVATE "${header}")
  endforeach()
  target_include_directories(${target} PRIVATE "${output_dir}")
endfunction()
