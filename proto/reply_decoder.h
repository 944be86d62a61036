// SPDX-License-Identifier: Apache-2.0
//
// A reply, written into the program's own memory. The program's pointers, counts and chains decide
// what may be written: a reply never makes the guest write past what the program offered.
#pragma once

#include "proto/reader.h"
#include "proto/record.h"

namespace vesper::proto {

/// Decodes a reply to the command `record` into `args`, the arguments of the call: the return value
/// and what the output pointers point to. False if the reply is malformed or larger than the call
/// allows; outputs may then be partly written.
[[nodiscard]] bool DecodeReply(const Record& record, Reader& reader, void* args);

/// Copies a decoded struct (`source`, with its chain) into the program's, as a Vulkan query does:
/// chained structs are matched by sType, arrays follow the two-call idiom (null: count only).
void CopyStruct(const Record& record, const void* source, void* target);

}  // namespace vesper::proto
