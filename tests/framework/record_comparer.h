// SPDX-License-Identifier: Apache-2.0
//
// Deep comparison of native memory before encoding and after decoding. The rules are written from
// proto/PROTOCOL.md's point of view, not from the codec's: what must arrive, what must be zero,
// what must be left alone.
#ifndef VESPER_TESTS_FRAMEWORK_RECORD_COMPARER_H_
#define VESPER_TESTS_FRAMEWORK_RECORD_COMPARER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "proto/record.h"

namespace vesper::tests {

// Each returns where the two first differ and how, or an empty string.

// `decoded` is what the host got of the guest's `native` arguments.
std::string CompareRequest(const proto::Record& record, const void* native, const void* decoded);
// `decoded` is a struct that travelled whole.
std::string CompareStruct(const proto::Record& record, const void* native, const void* decoded);
// `guest` are the guest's arguments once the reply with the host's arguments was written there.
std::string CompareReply(const proto::Record& record, const void* host, const void* guest);

// Reads every byte that a decoded record leads to, for the address sanitizer to see.
void Touch(const proto::Record& record, const void* decoded);

// Ids of the kNewIds and kConsumed members in the order of the members.
std::vector<uint64_t> NewIds(const proto::Record& record, const void* native);
std::vector<uint64_t> ConsumedIds(const proto::Record& record, const void* native);

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_RECORD_COMPARER_H_
