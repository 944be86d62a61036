// SPDX-License-Identifier: Apache-2.0
// Whether the Vulkan loader, the guest driver and the server together give a program a device. All
// of it runs in child processes, since foreign libraries are loaded.
#ifndef VESPER_CLI_VULKAN_CHECKS_H_
#define VESPER_CLI_VULKAN_CHECKS_H_

#include <string>

#include "cli/report.h"

namespace vesper::cli {

/// The system's Vulkan loader.
void CheckLoader(Report& report);

/// The manifest of the guest driver, the library that it names, and whether loaders find it.
void CheckGuestDriver(const std::string& manifest, Report& report);

/// What a program sees that uses the guest driver with the server at `endpoint`.
void CheckProgramView(const std::string& manifest, const std::string& endpoint, Report& report);

}  // namespace vesper::cli

#endif  // VESPER_CLI_VULKAN_CHECKS_H_
