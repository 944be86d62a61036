// SPDX-License-Identifier: Apache-2.0
//
// What the program asks for and the guest has before it asks, or keeps up to date while it goes on
// asking. The user can have each kind of it called (VESPER_PUSH).
#pragma once

#include <cstdint>
#include <string_view>

namespace vesper::client {

/// Kinds of facts that come by themselves, each with a word of its own in VESPER_PUSH.
enum PushKind : uint32_t {
  kPushAddresses = 1,    // of buffers and acceleration structures, and handles of shader groups
  kPushBudget = 2,       // how much memory there is, and is in use
  kPushQueries = 4,      // results of query pools that the program reads
  kPushEvents = 8,       // states of events that the program polls
  kPushTimestamps = 16,  // what the device's clock shows
  kPushAll = 31,
};

/// The kinds in a list of words, separated by commas; all if it is empty, none for "off". What is
/// not a word of ours is ignored.
uint32_t ReadPushKinds(std::string_view words);

}  // namespace vesper::client
