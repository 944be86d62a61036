// SPDX-License-Identifier: Apache-2.0
//
// The key under which a server archives what this user uploads (proto/chunks.h): 32 random bytes in
// a file that only the user may read, made when it is first asked for. Who knows the key is the
// tenant, wherever they connect from, and nobody else gets anything of what was archived under it,
// or learns whether something was. So it is sent to servers only if the user asked for archiving.
#pragma once

#include <optional>
#include <string>

#include "proto/hash.h"

namespace vesper::client {

/// The key in `folder`, or a new one that is there from now on. Nothing if the folder is empty or
/// can't be used, or what is there belongs to somebody else or may be read by others. Any thread,
/// and any process at the same time: they agree on one.
std::optional<proto::HashKey> ReadArchiveKey(const std::string& folder);

}  // namespace vesper::client
