// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "transport/unique_fd.h"

namespace vesper::client {

// Features, as the system's headers may be too old to have them, though the kernel has them.
inline constexpr uint64_t kFaultsWriteProtect = 1u << 0;
inline constexpr uint64_t kFaultsMinorShared = 1u << 10;
inline constexpr uint64_t kFaultsWriteProtectShared = 1u << 12;
inline constexpr uint64_t kFaultsUnpopulated = 1u << 13;
inline constexpr uint64_t kFaultsAsync = 1u << 15;

/// What asynchronous write protection of shared memory takes.
inline constexpr uint64_t kFaultsForAsync =
    kFaultsWriteProtect | kFaultsWriteProtectShared | kFaultsUnpopulated | kFaultsAsync;

enum class FaultsOf {
  kProgram,           ///< stores and loads of the program alone: no privilege needed
  kProgramAndKernel,  ///< those of system calls as well
};

/// A userfaultfd that does not block, with at least these features. Invalid with one sentence in
/// `why` if it can't be had; `needs` is that sentence if the kernel lacks a feature.
transport::UniqueFd OpenUserfaultfd(FaultsOf of, uint64_t features, const char* needs,
                                    std::string* why);

}  // namespace vesper::client
