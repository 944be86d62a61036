# SPDX-License-Identifier: Apache-2.0
# Functions with which the folders under tests/ register what they have.
include(GoogleTest)
find_package(GTest REQUIRED)

# What two of scripts/test's stages build: the programs of the tests with the label `threads`, and of
# those with the label `fuzz`.
add_custom_target(thread_tests)
add_custom_target(fuzz_tests)
set(VESPER_SANITIZER_ENVIRONMENT "")
if(VESPER_SANITIZE MATCHES "thread")
  set(VESPER_SANITIZER_ENVIRONMENT
    "TSAN_OPTIONS=second_deadlock_stack=1:suppressions=${PROJECT_SOURCE_DIR}/tests/thread_sanitizer.supp")
elseif(VESPER_SANITIZE MATCHES "address")
  set(VESPER_SANITIZER_ENVIRONMENT
    "LSAN_OPTIONS=print_suppressions=0:suppressions=${PROJECT_SOURCE_DIR}/tests/leak_sanitizer.supp")
endif()

# vesper_add_test(NAME name SOURCES file... [LIBS target...] [LABELS label...] [TIMEOUT seconds]
#                 [DEPENDS target...] [ENVIRONMENT VAR=value...])
# A GoogleTest program; each of its cases becomes a test of CTest. TIMEOUT (60 s when not given) is
# for one case and only turns a hang into a failure. DEPENDS names programs that the cases start.
# The label `threads` marks what the thread sanitizer should see.
function(vesper_add_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;TIMEOUT" "SOURCES;LIBS;LABELS;DEPENDS;ENVIRONMENT")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  add_executable(${arg_NAME} ${arg_SOURCES})
  target_link_libraries(${arg_NAME} PRIVATE
    vesper_warnings ${arg_LIBS} GTest::gmock GTest::gtest GTest::gtest_main Threads::Threads)
  if(arg_DEPENDS)
    add_dependencies(${arg_NAME} ${arg_DEPENDS})
  endif()
  if("threads" IN_LIST arg_LABELS)
    add_dependencies(thread_tests ${arg_NAME})
  endif()
  list(APPEND arg_ENVIRONMENT ${VESPER_SANITIZER_ENVIRONMENT})
  gtest_discover_tests(${arg_NAME}
    TEST_PREFIX "${arg_NAME}."
    NO_PRETTY_VALUES
    DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT ${arg_TIMEOUT})
  # PROPERTIES above cannot carry a list, so labels and environment are set in a script of their own,
  # which CTest reads after the one that lists the cases.
  if(arg_LABELS OR arg_ENVIRONMENT)
    set(script "${CMAKE_CURRENT_BINARY_DIR}/${arg_NAME}_properties.cmake")
    file(WRITE "${script}" "if(${arg_NAME}_TESTS)
  set_tests_properties(\${${arg_NAME}_TESTS} PROPERTIES
    LABELS [[${arg_LABELS}]] ENVIRONMENT [[${arg_ENVIRONMENT}]])
endif()
")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${script}")
  endif()
endfunction()

# vesper_add_fuzzer(NAME name SOURCES file... [LIBS target...] [CORPUS folder])
# A libFuzzer program, built only with VESPER_FUZZ (clang). CTest runs it for a minute, label `fuzz`,
# from the inputs in CORPUS; what it finds new goes to a folder in the build tree.
function(vesper_add_fuzzer)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;CORPUS" "SOURCES;LIBS")
  if(NOT VESPER_FUZZ)
    return()
  endif()
  add_executable(${arg_NAME} ${arg_SOURCES})
  target_link_libraries(${arg_NAME} PRIVATE vesper_warnings ${arg_LIBS} Threads::Threads)
  target_link_options(${arg_NAME} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzz_tests ${arg_NAME})
  set(found "${CMAKE_CURRENT_BINARY_DIR}/${arg_NAME}_found")
  file(MAKE_DIRECTORY "${found}")
  set(inputs "${found}")
  if(arg_CORPUS)
    get_filename_component(corpus "${arg_CORPUS}" ABSOLUTE)
    list(APPEND inputs "${corpus}")
  endif()
  add_test(NAME ${arg_NAME}
    COMMAND ${arg_NAME} -max_total_time=60 -timeout=10 -rss_limit_mb=2048 ${inputs}
    WORKING_DIRECTORY "${found}")
  set_tests_properties(${arg_NAME} PROPERTIES LABELS fuzz TIMEOUT 300)
endfunction()
