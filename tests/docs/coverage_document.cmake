# SPDX-License-Identifier: Apache-2.0
# Fails unless docs/coverage.md is what the generator makes of registry and policy now.
file(REMOVE "${FRESH}")
execute_process(
  COMMAND "${PYTHON}" "${GENERATOR}" --registry "${REGISTRY}" --coverage "${FRESH}"
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND "${CMAKE_COMMAND}" -E compare_files "${COMMITTED}" "${FRESH}"
  RESULT_VARIABLE differs)
if(differs)
  message(FATAL_ERROR "${COMMITTED} is not what the generator makes: run "
    "${GENERATOR} --registry ${REGISTRY} --coverage ${COMMITTED}")
endif()
