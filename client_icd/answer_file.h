// SPDX-License-Identifier: Apache-2.0
//
// Answers on disk, for the next session with the same server, device and driver (answers.h).
//
// A file is a header (magic, version, the identity that it is valid for, the size and the checksum
// of what follows) and entries: key, size, checksum, reply. It is only ever replaced as a whole, by
// a rename, so that a reader sees either the old or the new one; what two processes learnt at the
// same time is merged by whoever writes, and what is lost in between is asked again. Nothing in it
// is trusted: a file that is cut, damaged, of another user or of another identity counts as empty,
// and an entry is decoded as carefully as a reply from the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proto/hash.h"

namespace vesper::client {

/// The bytes of a reply; 8-byte aligned.
using AnswerBytes = std::shared_ptr<const std::vector<std::byte>>;

struct Answer {
  proto::Hash128 key;
  AnswerBytes reply;
};

/// A file is not longer than this; what would not fit is left out.
inline constexpr size_t kMaxAnswerFileBytes = 4u << 20;
/// A reply that is longer is not kept.
inline constexpr size_t kMaxAnswerBytes = 64u << 10;
/// So many files are kept, those that were used last.
inline constexpr size_t kMaxAnswerFiles = 64;

/// What a file with these answers holds; those that come first are the last to be left out.
std::vector<std::byte> EncodeAnswers(const proto::Hash128& identity,
                                     const std::vector<Answer>& answers);
/// Nothing if the bytes are not such a file.
std::optional<std::vector<Answer>> DecodeAnswers(const proto::Hash128& identity,
                                                 std::span<const std::byte> bytes);

/// Where the answers for `identity` are.
std::string AnswerFilePath(const std::string& folder, const proto::Hash128& identity);
/// The answers in the file; none if there is no good one. Notes that it is in use.
std::vector<Answer> LoadAnswers(const std::string& folder, const proto::Hash128& identity);
/// Puts `answers` before those that are in the file now, and replaces it. Makes the folder, and
/// takes out files that nobody has used for the longest time. False if that failed; then
/// everything is as before.
bool SaveAnswers(const std::string& folder, const proto::Hash128& identity,
                 std::vector<Answer> answers);

}  // namespace vesper::client
