// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/record_comparer.h"

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <cstring>

#include "proto/walk.h"
#include "tests/framework/record_filler.h"

namespace vesper::tests {
namespace {

using proto::LoadField;
using proto::Op;
using proto::OpKind;
using proto::Record;

constexpr size_t kNextOffset = 8;

enum class Mode {
  kRequest,  // a command's arguments
  kWhole,    // everything arrives
  kShape,    // an output: pointers, counts and chain arrive, the rest is zero
  kReply,    // outputs arrive in memory that is there already
};

bool IsPointerArray(OpKind kind) {
  return kind == OpKind::kStrings || kind == OpKind::kRecordPointers ||
         kind == OpKind::kPlainPointers;
}

class Comparer {
 public:
  /// Without conditions whatever pointer is there counts: so it is in decoded records.
  explicit Comparer(bool conditions = true) : conditions_(conditions) {}

  std::string Compare(const Record& record, const std::byte* a, const std::byte* b, Mode mode,
                      bool in_chain);

 private:
  std::string Member(const Record& record, const Op& op, const std::byte* a, const std::byte* b,
                     Mode mode, bool in_chain);
  std::string Array(const Op& op, const std::byte* a, const std::byte* b, Mode mode);
  std::string Chain(const Record& root, const std::byte* a, const std::byte* b, Mode mode);

  const bool conditions_;
  int depth_ = 0;
};

std::string At(const Record& record, size_t offset, const std::string& what) {
  return std::string(record.name) + " at byte " + std::to_string(offset) + ": " + what;
}

bool IsZero(const std::byte* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (bytes[i] != std::byte{0}) {
      return false;
    }
  }
  return true;
}

/// Members of an output that its shape sets: the struct's type, and counts of arrays that are
/// there.
bool IsShapeMember(const Record& record, size_t offset) {
  if (record.stype >= 0 && offset < 4) {
    return true;
  }
  for (const Op& op : record.ops) {
    const bool is_array = op.kind == OpKind::kPlain || op.kind == OpKind::kRecords;
    const size_t width = op.length.kind == proto::LengthKind::kU64   ? 8
                         : op.length.kind == proto::LengthKind::kU32 ? 4
                                                                     : 0;
    if (is_array && offset >= op.length.offset && offset < op.length.offset + width) {
      return true;
    }
  }
  return false;
}

bool IsPadding(const Record& record, size_t offset) {
  return std::any_of(record.holes.begin(), record.holes.end(), [offset](const proto::Hole& hole) {
    return offset >= hole.offset && offset < size_t{hole.offset} + hole.size;
  });
}

std::string Comparer::Compare(const Record& record, const std::byte* a, const std::byte* b,
                              Mode mode, bool in_chain) {
  struct Depth {
    explicit Depth(int& value) : value_(value) { ++value_; }
    ~Depth() { --value_; }
    int& value_;
  } const depth(depth_);
  size_t position = 0;
  const auto plain = [&](size_t end) -> std::string {
    for (; position < end; ++position) {
      if (mode == Mode::kReply && IsPadding(record, position)) {
        continue;  // the guest's own, and not written to
      }
      const bool same = mode == Mode::kShape && !IsShapeMember(record, position)
                            ? b[position] == std::byte{0}
                            : a[position] == b[position];
      if (!same && mode == Mode::kShape && IsZero(b + position, 1)) {
        continue;  // a count whose array is null need not travel
      }
      if (!same) {
        return At(record, position, "plain bytes differ");
      }
    }
    return {};
  };
  for (const Op& op : record.ops) {
    if (std::string difference = plain(op.offset); !difference.empty()) {
      return difference;
    }
    if (std::string difference = Member(record, op, a, b, mode, in_chain); !difference.empty()) {
      return difference.find(": ") == std::string::npos ? At(record, op.offset, difference)
                                                        : difference;
    }
    position = op.offset + OpBytes(op);
  }
  return plain(record.size);
}

std::string Comparer::Member(const Record& record, const Op& op, const std::byte* a,
                             const std::byte* b, Mode mode, bool in_chain) {
  const bool present = !conditions_ || op.present == nullptr || op.present(a);
  switch (op.kind) {
    case OpKind::kDropped:
      return mode != Mode::kReply && !IsZero(b + op.offset, 8) ? "should be dropped" : "";
    case OpKind::kHandle:
      for (uint32_t i = 0; i < op.count && mode != Mode::kReply; ++i) {
        const bool arrives = present && mode != Mode::kShape;
        const auto expected = arrives ? LoadField<uint64_t>(a, op.offset + 8 * i) : 0;
        if (LoadField<uint64_t>(b, op.offset + 8 * i) != expected) {
          return "handles differ";
        }
      }
      return {};
    case OpKind::kLayout: {
      auto expected = LoadField<uint32_t>(a, op.offset);
      if (expected == VK_IMAGE_LAYOUT_PRESENT_SRC_KHR) {
        expected = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
      }
      const bool arrives = mode == Mode::kWhole || mode == Mode::kRequest;
      return arrives && LoadField<uint32_t>(b, op.offset) != expected ? "layouts differ" : "";
    }
    case OpKind::kTypedHandle: {
      const auto expected = mode == Mode::kShape ? 0 : LoadField<uint64_t>(a, op.offset);
      return mode != Mode::kReply && LoadField<uint64_t>(b, op.offset) != expected
                 ? "typed handles differ"
                 : "";
    }
    case OpKind::kRecord:
      for (uint32_t i = 0; i < op.count; ++i) {
        const size_t offset = op.offset + static_cast<size_t>(i) * op.size;
        const Mode inner = mode == Mode::kRequest ? Mode::kWhole : mode;
        std::string difference =
            Compare(proto::Records()[op.type], a + offset, b + offset, inner, false);
        if (!difference.empty()) {
          return difference;
        }
      }
      return {};
    case OpKind::kUnion: {
      if (mode == Mode::kReply || mode == Mode::kShape) {
        return {};
      }
      const auto selector = static_cast<int32_t>(proto::EvaluateLength(op.length, a));
      for (const proto::UnionCase& alternative : proto::Unions()[op.type].cases) {
        if (alternative.value == selector) {
          return Compare(proto::Records()[alternative.record], a + op.offset, b + op.offset,
                         Mode::kWhole, false);
        }
      }
      return IsZero(b + op.offset, OpBytes(op)) ? "" : "an unknown alternative should be zero";
    }
    case OpKind::kChain:
      return in_chain ? std::string()
                      : Chain(record, present ? LoadField<const std::byte*>(a, op.offset) : nullptr,
                              LoadField<const std::byte*>(b, op.offset), mode);
    default:
      break;
  }
  const bool is_array = op.kind == OpKind::kPlain || op.kind == OpKind::kRecords;
  const bool is_input = depth_ == 1 && (op.flags & proto::kOut) == 0;
  if (mode == Mode::kReply && (is_input || (!is_array && op.kind != OpKind::kHandles))) {
    return {};
  }
  if (mode == Mode::kShape && !is_array) {
    return IsZero(b + op.offset, 8) ? "" : "should not be in a shape";
  }
  const bool expected = present && LoadField<const void*>(a, op.offset) != nullptr;
  const bool there = LoadField<const void*>(b, op.offset) != nullptr;
  if (mode == Mode::kReply && !expected) {
    return {};
  }
  if (expected != there) {
    return expected ? "a pointer got lost" : "a pointer came from nowhere";
  }
  return expected ? Array(op, a, b, mode) : std::string();
}

std::string Comparer::Array(const Op& op, const std::byte* a, const std::byte* b, Mode mode) {
  const auto* from = LoadField<const std::byte*>(a, op.offset);
  const auto* to = LoadField<const std::byte*>(b, op.offset);
  if (op.kind == OpKind::kString) {
    return std::strcmp(reinterpret_cast<const char*>(from), reinterpret_cast<const char*>(to)) == 0
               ? ""
               : "strings differ";
  }
  const uint64_t count = proto::EvaluateLength(op.length, a);
  if (proto::EvaluateLength(op.length, b) != count) {
    return "counts differ";
  }
  const bool shape = mode == Mode::kShape ||
                     (mode == Mode::kRequest && (op.flags & (proto::kIn | proto::kNewIds)) == 0);
  const Mode inner = shape ? Mode::kShape : mode == Mode::kReply ? Mode::kReply : Mode::kWhole;
  for (uint64_t i = 0; i < count; ++i) {
    if (op.kind == OpKind::kRecords) {
      std::string difference =
          Compare(proto::Records()[op.type], from + i * op.size, to + i * op.size, inner, false);
      if (!difference.empty()) {
        return difference;
      }
    } else if (op.kind == OpKind::kPlain) {
      const bool same = shape ? IsZero(to + i * op.size, op.size)
                              : std::memcmp(from + i * op.size, to + i * op.size, op.size) == 0;
      if (!same) {
        return "elements differ";
      }
    } else if (op.kind == OpKind::kHandles) {
      const bool zero = shape || (mode != Mode::kReply && (op.flags & proto::kNewIds) != 0);
      const auto expected = zero ? 0 : LoadField<uint64_t>(from, i * 8);
      if (LoadField<uint64_t>(to, i * 8) != expected) {
        return "arrays of handles differ";
      }
    } else if (IsPointerArray(op.kind)) {
      const auto* one = LoadField<const std::byte*>(from, i * 8);
      const auto* other = LoadField<const std::byte*>(to, i * 8);
      std::string difference;
      if (op.kind == OpKind::kRecordPointers) {
        difference = Compare(proto::Records()[op.type], one, other, Mode::kWhole, false);
      } else if (op.kind == OpKind::kStrings) {
        const int order =
            std::strcmp(reinterpret_cast<const char*>(one), reinterpret_cast<const char*>(other));
        difference = order == 0 ? "" : "strings in an array differ";
      } else {
        const uint64_t inner_count = proto::EvaluateLength(op.inner, a, i);
        const bool same = proto::EvaluateLength(op.inner, b, i) == inner_count &&
                          std::memcmp(one, other, inner_count * op.size) == 0;
        difference = same ? "" : "arrays in an array differ";
      }
      if (!difference.empty()) {
        return difference;
      }
    }
  }
  return {};
}

std::string Comparer::Chain(const Record& root, const std::byte* a, const std::byte* b, Mode mode) {
  for (; a != nullptr; a = LoadField<const std::byte*>(a, kNextOffset)) {
    const auto stype = LoadField<int32_t>(a, 0);
    const Record* record = proto::StructRecordByType(stype);
    if (record == nullptr || !proto::MayExtend(*record, root)) {
      continue;  // what nobody knows does not travel
    }
    // The guest's own chain may hold strangers between.
    while (mode == Mode::kReply && b != nullptr && LoadField<int32_t>(b, 0) != stype) {
      b = LoadField<const std::byte*>(b, kNextOffset);
    }
    if (b == nullptr || LoadField<int32_t>(b, 0) != stype) {
      return At(root, kNextOffset, std::string("the chain lacks ") + record->name);
    }
    if (std::string difference =
            Compare(*record, a, b, mode == Mode::kRequest ? Mode::kWhole : mode, true);
        !difference.empty()) {
      return difference;
    }
    b = LoadField<const std::byte*>(b, kNextOffset);
  }
  return b != nullptr && mode != Mode::kReply ? At(root, kNextOffset, "the chain is too long") : "";
}

std::string Start(const Record& record, const void* a, const void* b, Mode mode) {
  return Comparer().Compare(record, static_cast<const std::byte*>(a),
                            static_cast<const std::byte*>(b), mode, false);
}

std::vector<uint64_t> IdsWith(uint8_t flag, const Record& record, const void* native) {
  std::vector<uint64_t> ids;
  const bool as_is = flag == proto::kNewIds;
  for (const Op& op : record.ops) {
    if ((op.flags & flag) == 0) {
      continue;
    }
    const auto* elements = op.kind == OpKind::kHandle
                               ? static_cast<const std::byte*>(native) + op.offset
                               : LoadField<const std::byte*>(native, op.offset);
    const uint64_t count =
        op.kind == OpKind::kHandle ? op.count : proto::EvaluateLength(op.length, native);
    for (uint64_t i = 0; elements != nullptr && i < count; ++i) {
      const auto handle = LoadField<uint64_t>(elements, i * 8);
      if (handle != 0) {
        ids.push_back(as_is ? handle
                            : IdOfTestHandle(static_cast<proto::HandleType>(op.type), handle));
      }
    }
  }
  return ids;
}

}  // namespace

std::string CompareRequest(const Record& record, const void* native, const void* decoded) {
  return Start(record, native, decoded, Mode::kRequest);
}

std::string CompareStruct(const Record& record, const void* native, const void* decoded) {
  return Start(record, native, decoded, Mode::kWhole);
}

std::string CompareReply(const Record& record, const void* host, const void* guest) {
  return Start(record, host, guest, Mode::kReply);
}

void Touch(const Record& record, const void* decoded) {
  const auto* bytes = static_cast<const std::byte*>(decoded);
  const volatile size_t sum =
      Comparer(false).Compare(record, bytes, bytes, Mode::kWhole, false).size();
  (void)sum;
}

std::vector<uint64_t> NewIds(const Record& record, const void* native) {
  return IdsWith(proto::kNewIds, record, native);
}

std::vector<uint64_t> ConsumedIds(const Record& record, const void* native) {
  return IdsWith(proto::kConsumed, record, native);
}

}  // namespace vesper::tests
