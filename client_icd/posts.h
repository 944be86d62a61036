// SPDX-License-Identifier: Apache-2.0
//
// What is posted although the driver may refuse it. A command of class `post` (codegen/policy.toml)
// is sent without waiting; if it fails on the host, what it would have made is poisoned, and a
// later call says so. Where a program needs the driver's answer, or the driver may refuse for
// reasons that the guest cannot know, the command is called all the same: that is decided for each
// call by the entry point. And the user can have each kind of them called always (VESPER_POST).
#pragma once

#include <cstdint>
#include <string_view>

namespace vesper::client {

/// Kinds of commands that are posted, each with a word of its own in VESPER_POST.
enum PostKind : uint32_t {
  kPostAlways = 0,       // what can only fail for want of memory, and is small
  kPostResources = 1,    // buffers, images and their like, and binding them to memory
  kPostPipelines = 2,    // pipelines, and what they are made of and from
  kPostDescriptors = 4,  // descriptor sets
  kPostMemory = 8,       // allocations of device memory
  kPostAll = 15,
};

/// The kind of a command of class `post`.
PostKind PostKindOf(uint16_t number);

/// The kinds in a list of words, separated by commas; all if it is empty, none for "off". What is
/// not a word of ours is ignored.
uint32_t ReadPostKinds(std::string_view words);

}  // namespace vesper::client
