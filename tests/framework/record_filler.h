// SPDX-License-Identifier: Apache-2.0
//
// Random native memory for any record of the codec, made from the codec's own tables: lengths agree
// with their arrays, unions with their selectors, chains hold structs that may be there, and what
// the specification lets be garbage is garbage.
#ifndef VESPER_TESTS_FRAMEWORK_RECORD_FILLER_H_
#define VESPER_TESTS_FRAMEWORK_RECORD_FILLER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "proto/arena.h"
#include "proto/decoder.h"
#include "proto/record.h"
#include "tests/framework/random.h"

namespace vesper::tests {

// Native handles of the tests are ids with some bits flipped, so that a handle that was not
// translated shows.
inline constexpr uint64_t kNativeHandleMask = 0x00a5'0000'0000'0000;
uint64_t IdOfTestHandle(proto::HandleType type, uint64_t handle);

// Resolves what IdOfTestHandle gave; ids of another type than asked for are invalid.
class TestResolver : public proto::HandleResolver {
 public:
  void BeginCommand() override {}
  proto::Resolution Resolve(proto::HandleType type, proto::ObjectId id, uint64_t* handle) override;
};

class RecordFiller {
 public:
  enum class Chains {
    kSome,  // a few structs, and now and then one that nobody knows
    kAll,   // every struct that may extend the outermost records
  };

  // Two fillers with the same `shape` make records with the same nulls, counts, selectors and
  // chains; `content` decides the bytes. Everything is allocated from `arena`.
  RecordFiller(uint64_t shape, uint64_t content, Chains chains, proto::Arena& arena);

  // A whole record (record.size bytes) with everything it points to.
  void* Make(const proto::Record& record);

 private:
  void Fill(const proto::Record& record, std::byte* value, bool in_chain);
  void FillOp(const proto::Record& record, const proto::Op& op, std::byte* value, bool in_chain);
  void FillArray(const proto::Record& record, const proto::Op& op, std::byte* value);
  void FillElements(const proto::Op& op, std::byte* elements, uint64_t count,
                    const std::byte* value);
  void FillChain(const proto::Record& root, std::byte* value, size_t offset);
  void FixTargetLengths(const proto::Record& record, const proto::Op& op, std::byte* elements);
  void ChooseLengths(const proto::Record& record, std::byte* value);
  void ChooseCondition(const proto::Record& record, std::byte* value);
  uint64_t MakeHandle(proto::HandleType type);
  std::byte* MakeString();
  std::byte* Allocate(uint64_t bytes);

  Random shape_;
  Random content_;
  const Chains chains_;
  proto::Arena& arena_;
  uint32_t depth_ = 0;
  std::vector<int32_t> object_types_;             // values of VkObjectType that are handles
  std::vector<std::vector<uint16_t>> extending_;  // by record: what may be in its chain
};

// Bytes of an image that an operation accounts for.
size_t OpBytes(const proto::Op& op);

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_RECORD_FILLER_H_
