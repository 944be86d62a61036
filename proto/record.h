// SPDX-License-Identifier: Apache-2.0
//
// Records: the tables that drive the codec.
//
// A struct and a command's argument list are the same thing. A record has an *image*, the bytes of
// the struct as a 64-bit little-endian compiler lays it out, and *operations*, one for each member
// that is more than bytes. The generator writes the tables (records_gen.cpp); encoder, decoder and
// tests walk them. One walker instead of generated code for every struct keeps the part that faces
// hostile bytes small enough to read.
#pragma once

#include <cstdint>
#include <span>

#include "proto/handle_types_gen.h"

namespace vesper::proto {

enum class OpKind : uint8_t {
  kDropped,         // a pointer that never travels: zero on the other side
  kHandle,          // `count` handles of `type` in the image
  kTypedHandle,     // a u64 that is a handle, of the VkObjectType that `length` finds
  kRecord,          // `count` nested records of `type` in the image
  kUnion,           // union `type`, selected by the enum that `length` finds
  kChain,           // pNext
  kString,          // pointer to a NUL-terminated string
  kStrings,         // pointer to `length` such pointers
  kPlain,           // pointer to `length` elements of `size` bytes
  kHandles,         // pointer to `length` handles of `type`
  kRecords,         // pointer to `length` records of `type`
  kRecordPointers,  // pointer to `length` pointers to one record of `type` each
  kPlainPointers,   // pointer to `length` pointers to `inner` elements of `size` bytes each
  kLayout,          // an image's layout, which may be one that only the guest knows
};

enum class LengthKind : uint8_t {
  kConstant,  // `add`
  kU8,        // unsigned integer of that width at `offset` in the image
  kU16,
  kU32,
  kU64,
  kPointerU32,  // the integer that the pointer at `offset` points to
  kPointerU64,
  kPath,     // u32 at `inner` in what the pointer at `offset` points to
  kSibling,  // u32 at `inner` in element i (`add` bytes each) of the array at `offset`
};

/// An element count: (value + add) / divide.
struct Length {
  LengthKind kind = LengthKind::kConstant;
  uint16_t offset = 0;
  uint16_t inner = 0;
  uint32_t add = 1;
  uint32_t divide = 1;
};

enum OpFlags : uint8_t {
  kIn = 1,         // travels with the request
  kOut = 2,        // travels with the reply
  kNewIds = 4,     // handles that the command creates: the request carries the guest's ids
  kConsumed = 8,   // handles that the command destroys
  kLenient = 16,   // an id that resolves to nothing becomes VK_NULL_HANDLE
  kRequired = 32,  // null is malformed where there are elements
};

using Present = bool (*)(const void* record);

struct Op {
  OpKind kind;
  uint8_t flags;
  uint16_t offset;
  uint16_t type;
  uint16_t count;
  uint32_t size;
  Length length;
  Length inner;
  Present present;  // null: always
};

/// Padding of a struct (bytes).
struct Hole {
  uint16_t offset;
  uint16_t size;
};

struct Record {
  const char* name;
  uint32_t size;    // bytes of the image
  uint16_t number;  // wire number of a command, or of a struct that can be chained; else 0
  int32_t stype;    // VkStructureType, or -1
  uint32_t hash;    // of everything that decides the bytes on the wire
  std::span<const Op> ops;
  std::span<const Hole> holes;          // in the order of their offsets
  std::span<const uint16_t> extends;    // indices of the records whose pNext may hold this one
  std::span<const uint16_t> providers;  // versions and extensions that bring it (Provider)

  bool IsPlain() const { return ops.empty(); }
};

struct UnionCase {
  int64_t value;
  uint16_t record;
};

struct Union {
  const char* name;
  uint32_t size;
  std::span<const UnionCase> cases;
};

/// A provider is a core version (high bit set, then major.minor) or an extension's index.
inline constexpr uint16_t kCoreProvider = 0x8000;
constexpr uint16_t CoreProvider(uint16_t major, uint16_t minor) {
  return static_cast<uint16_t>(kCoreProvider | (major << 8) | minor);
}

/// All records; commands first are found through CommandRecord.
std::span<const Record> Records();
std::span<const Union> Unions();

/// The record of the command with this wire number, or null.
const Record* CommandRecord(uint16_t number);
/// The record of the chainable struct with this wire number, or null.
const Record* StructRecord(uint16_t number);
/// The record of the chainable struct with this sType, or null.
const Record* StructRecordByType(int32_t stype);
/// Index of a record in Records().
uint16_t RecordIndex(const Record& record);
bool MayExtend(const Record& record, const Record& root);

/// Numbers are dense: 1 to Max… inclusive.
uint16_t MaxCommandNumber();
uint16_t MaxStructNumber();

/// The handle type of a VkObjectType, or HandleType::kNone.
HandleType HandleTypeOf(int32_t object_type);
bool IsDispatchable(HandleType type);
const char* HandleTypeName(HandleType type);

struct ExtensionInfo {
  const char* name;
  uint32_t spec_version;
  bool is_instance;
  bool is_guest;  // implemented by the guest alone; the host is never told of it
};
/// The extensions that the codec carries.
std::span<const ExtensionInfo> Extensions();
/// Index in Extensions(), or -1.
int ExtensionIndex(const char* name);

struct MaskedFeature {
  uint16_t record;
  uint16_t offset;  // of a VkBool32
};
/// Features that are reported as absent whatever the host says.
std::span<const MaskedFeature> MaskedFeatures();

}  // namespace vesper::proto
