// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_MEMORY_TIER_H_
#define VESPER_TESTS_FRAMEWORK_MEMORY_TIER_H_

#include <string>

namespace vesper::tests {

// How the guest driver finds out what the program wrote, from what it says with VESPER_DEBUG=log:
// "async", "compare", ... Empty if it has not said so.
std::string TierInLog(const std::string& log);

// The whole line; says why, if it is not the tier that was asked for.
std::string TierLineInLog(const std::string& log);

// When the program gets what the device wrote, in the same way, and why it is not otherwise.
std::string DownloadsInLog(const std::string& log);

// Opens and closes an instance with the environment as it is, and returns what it says. For the
// time before there are other threads: it points this process's standard error elsewhere meanwhile.
std::string LogOfAnInstance();

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_MEMORY_TIER_H_
