// SPDX-License-Identifier: Apache-2.0
// What this system offers for knowing which pages a program wrote, and for sharing pages with
// another process. Each way is tried out on a few pages in a child process: kernels and sandboxes
// refuse in more ways than version numbers tell.
#ifndef VESPER_CLI_MEMORY_CHECKS_H_
#define VESPER_CLI_MEMORY_CHECKS_H_

#include <string>

#include "cli/report.h"

namespace vesper::cli {

/// Ways to track written pages, best first, and the one that is in use.
void CheckTracking(Report& report);

/// When programs get what the device wrote; `is_tcp` says that the server is reached through TCP.
void CheckDownloads(bool is_tcp, Report& report);

/// Whether programs share memory with the server; `passes_files` says that it is reached in a way
/// on which files travel,
/// `refusal` why it does not share, if it does not.
void CheckSharing(bool passes_files, const std::string& refusal, Report& report);

}  // namespace vesper::cli

#endif  // VESPER_CLI_MEMORY_CHECKS_H_
