// SPDX-License-Identifier: Apache-2.0
//
// Wire to native structs, for bytes that nobody vouches for. Every count comes from the image that
// was copied out of the frame and must agree with the count beside the data; every allocation is
// made from a capped arena; every handle goes through the resolver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "proto/arena.h"
#include "proto/object_id.h"
#include "proto/reader.h"
#include "proto/record.h"

namespace vesper::proto {

enum class Resolution {
  kResolved,
  kBroken,       // made, and not to be used: only a command that destroys it gets the handle
  kPoisoned,     // its creation failed: the command is skipped
  kUnavailable,  // dead or never heard of: the command is skipped
  kInvalid,      // not an id that this peer may send: the session ends
};

/// Turns object ids into native handles.
class HandleResolver {
 public:
  virtual ~HandleResolver() = default;
  /// A new command begins.
  virtual void BeginCommand() = 0;
  /// Gives the handle of what is resolved or broken.
  virtual Resolution Resolve(HandleType type, ObjectId id, uint64_t* handle) = 0;
};

enum class [[nodiscard]] DecodeResult {
  kDecoded,
  kUnavailable,  // well-formed, but it names an object that is not there
  kMalformed,
};

/// Decodes one record at a time. Not thread-safe.
class Decoder {
 public:
  /// `resolver` may be null if the records hold no handles.
  Decoder(Arena& arena, HandleResolver* resolver) : arena_(arena), resolver_(resolver) {}

  /// From now on input arrays of plain elements that have `bytes` bytes or more are not copied:
  /// they lie in the reader's bytes, and are valid as long as those are.
  void BorrowArraysFrom(size_t bytes) { borrow_from_ = bytes; }

  /// A command's arguments into `args` (record.size bytes). Output pointers point to zeroed memory
  /// of the size that the guest asked for, output chains have the guest's shape.
  DecodeResult Request(const Record& record, Reader& reader, void* args);
  /// A struct with everything it points to into `value` (record.size bytes).
  DecodeResult Struct(const Record& record, Reader& reader, void* value);

  /// Ids that the command's kNewIds and kConsumed members carried.
  const std::vector<ObjectId>& new_ids() const { return new_ids_; }
  const std::vector<ObjectId>& consumed_ids() const { return consumed_ids_; }

 private:
  enum class Part { kRequest, kWhole };

  DecodeResult Run(const Record& record, Reader& reader, void* value, Part part);
  void Image(const Record& record, void* value, Part part);
  void Operations(const Record& record, std::byte* value, Part part);
  void Operation(const Record& record, const Op& op, std::byte* value, Part part);
  void Array(const Op& op, std::byte* value, Part part);
  void Pointers(const Op& op, const std::byte* value, uint64_t count, std::byte* elements);
  void Handles(const Op& op, uint64_t count, std::byte* elements);
  void Chain(const Record& root, std::byte* value, size_t offset);
  void Shape(const Record& record, std::byte* value, bool in_chain);
  void ShapeChain(const Record& root, std::byte* value, size_t offset);
  uint64_t ResolveHandle(const Op& op, HandleType type, uint64_t id);
  std::byte* Allocate(uint64_t count, uint64_t size);
  void Malformed() { reader_->Fail(); }
  bool Bad() const { return reader_->Failed(); }

  Arena& arena_;
  HandleResolver* resolver_;
  Reader* reader_ = nullptr;
  bool unavailable_ = false;
  uint32_t depth_ = 0;
  size_t borrow_from_ = SIZE_MAX;
  std::vector<ObjectId> new_ids_;
  std::vector<ObjectId> consumed_ids_;
};

}  // namespace vesper::proto
