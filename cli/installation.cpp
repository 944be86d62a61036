// SPDX-License-Identifier: Apache-2.0
#include "cli/installation.h"

#include <stdlib.h>

#include <filesystem>
#include <system_error>

namespace vesper::cli {

std::optional<Installation> Installation::Find(std::string* error) {
  std::error_code code;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", code);
  if (code) {
    *error =
        "cannot find the parts of Vesper, since /proc/self/exe cannot be read: " + code.message() +
        "; is /proc mounted?";
    return std::nullopt;
  }
  const std::filesystem::path folder = program.parent_path();
  Installation installation;
  installation.server = folder / "vesperd";
  installation.manifest =
      folder.parent_path() / "share/vulkan/icd.d/vesper_icd." VESPER_ARCHITECTURE ".json";
  return installation;
}

std::string NamedServer(const std::string& option) {
  if (!option.empty()) {
    return option;
  }
  const char* value = ::getenv("VESPER_SERVER");
  return value == nullptr ? "" : value;
}

bool HasVariable(const char* name) {
  const char* value = ::getenv(name);
  return value != nullptr && *value != '\0';
}

}  // namespace vesper::cli
