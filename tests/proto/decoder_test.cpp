// SPDX-License-Identifier: Apache-2.0
// Single rules of the decoder that hostile bytes would break. The sweep over all records is in
// round_trip_test.cpp.
#include "proto/decoder.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "proto/buffer.h"
#include "proto/encoder.h"
#include "proto/object_id.h"
#include "proto/records_gen.h"
#include "proto/walk.h"
#include "tests/framework/record_filler.h"

namespace vesper::proto {
namespace {

namespace index = record_index;
namespace number = command_number;

class DecoderTest : public testing::Test {
 protected:
  DecodeResult Struct(uint16_t record, const Buffer& bytes, void* value) {
    Reader reader(bytes.Bytes());
    return decoder_.Struct(Records()[record], reader, value);
  }
  template <typename Args>
  DecodeResult Request(uint16_t command, const Args& args, Args* decoded) {
    Buffer bytes;
    const KnownStructs known;
    Encoder(bytes, known, Same).Request(*CommandRecord(command), &args);
    Reader reader(bytes.Bytes());
    return decoder_.Request(*CommandRecord(command), reader, decoded);
  }
  static uint64_t Same(HandleType, uint64_t handle) { return handle; }
  static VkDevice Device() {
    return reinterpret_cast<VkDevice>(MakeObjectId(HandleType::kDevice, 1, 0));
  }

  Arena arena_;
  tests::TestResolver resolver_;
  Decoder decoder_{arena_, &resolver_};
};

TEST_F(DecoderTest, AnUnknownAlternativeOfAUnionIsZero) {
  VkAccelerationStructureGeometryKHR geometry;
  std::memset(static_cast<void*>(&geometry), 0xff, sizeof(geometry));
  geometry.pNext = nullptr;
  Buffer bytes;
  bytes.Put(&geometry, sizeof(geometry));
  VkAccelerationStructureGeometryKHR decoded;
  ASSERT_EQ(Struct(index::VkAccelerationStructureGeometryKHR, bytes, &decoded),
            DecodeResult::kDecoded);
  const std::vector<unsigned char> zeros(sizeof(decoded.geometry));
  EXPECT_EQ(std::memcmp(&decoded.geometry, zeros.data(), zeros.size()), 0)
      << "else the driver would follow the guest's pointers";
}

TEST_F(DecoderTest, LargeInputArraysAreBorrowedIfAsked) {
  const std::vector<std::byte> patch(8192, std::byte{3});
  for (const size_t from : {size_t{8192}, size_t{8193}}) {
    Buffer bytes;
    const Args_vesperWriteMemory args{Device(), 1, patch.size(), patch.data()};
    const Record& record = *CommandRecord(number::vesperWriteMemory);
    Encoder(bytes, KnownStructs(), Same).Request(record, &args);
    Args_vesperWriteMemory decoded;
    Reader reader(bytes.Bytes());
    decoder_.BorrowArraysFrom(from);
    ASSERT_EQ(decoder_.Request(record, reader, &decoded), DecodeResult::kDecoded);
    const auto* begin = static_cast<const std::byte*>(decoded.pPatch);
    const bool is_inside =
        begin >= bytes.Bytes().data() && begin < bytes.Bytes().data() + bytes.size();
    EXPECT_EQ(is_inside, from <= patch.size());
    EXPECT_EQ(std::memcmp(begin, patch.data(), patch.size()), 0);
  }
}

TEST_F(DecoderTest, NewIdsAreOfTheTypeThatIsMade) {
  const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  Args_vkCreateBuffer decoded;
  VkBuffer buffer = reinterpret_cast<VkBuffer>(MakeObjectId(HandleType::kBuffer, 1, 0));
  EXPECT_EQ(Request(number::vkCreateBuffer, Args_vkCreateBuffer{Device(), &info, nullptr, &buffer},
                    &decoded),
            DecodeResult::kDecoded);
  buffer = reinterpret_cast<VkBuffer>(MakeObjectId(HandleType::kImage, 1, 0));
  EXPECT_EQ(Request(number::vkCreateBuffer, Args_vkCreateBuffer{Device(), &info, nullptr, &buffer},
                    &decoded),
            DecodeResult::kMalformed);
}

TEST_F(DecoderTest, NullIsRefusedWhereAnObjectIsNeeded) {
  VkBuffer buffer = reinterpret_cast<VkBuffer>(MakeObjectId(HandleType::kBuffer, 1, 0));
  Args_vkCreateBuffer decoded;
  EXPECT_EQ(Request(number::vkCreateBuffer,
                    Args_vkCreateBuffer{Device(), nullptr, nullptr, &buffer}, &decoded),
            DecodeResult::kMalformed);
  const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  EXPECT_EQ(Request(number::vkCreateBuffer, Args_vkCreateBuffer{Device(), &info, nullptr, nullptr},
                    &decoded),
            DecodeResult::kMalformed);
  // Without elements null is what programs pass.
  const auto queue = reinterpret_cast<VkQueue>(MakeObjectId(HandleType::kQueue, 1, 0));
  Args_vkQueueSubmit submit;
  EXPECT_EQ(Request(number::vkQueueSubmit, Args_vkQueueSubmit{queue, 0, nullptr}, &submit),
            DecodeResult::kDecoded);
  EXPECT_EQ(Request(number::vkQueueSubmit, Args_vkQueueSubmit{queue, 1, nullptr}, &submit),
            DecodeResult::kMalformed);
}

TEST_F(DecoderTest, ByteCountsAreWholeElements) {
  const uint32_t code[2] = {};
  VkShaderModuleCreateInfo info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, nullptr, 0, 8, code};
  Buffer bytes;
  const KnownStructs known;
  Encoder(bytes, known, Same).Struct(Records()[index::VkShaderModuleCreateInfo], &info);
  VkShaderModuleCreateInfo decoded;
  ASSERT_EQ(Struct(index::VkShaderModuleCreateInfo, bytes, &decoded), DecodeResult::kDecoded);
  // Eleven bytes are still two words, but the driver would read eleven.
  StoreField<uint64_t>(bytes.At(0), offsetof(VkShaderModuleCreateInfo, codeSize), 11);
  EXPECT_EQ(Struct(index::VkShaderModuleCreateInfo, bytes, &decoded), DecodeResult::kMalformed);
}

TEST_F(DecoderTest, ChainsHoldWhatMayBeThere) {
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  const auto decode = [&](uint64_t slot) {
    Buffer bytes;
    bytes.Put(&info, sizeof(info));
    StoreField(bytes.At(0), 8, slot);
    const std::vector<std::byte> next(256);
    bytes.Put(next.data(), next.size());
    VkBufferCreateInfo decoded;
    return Struct(index::VkBufferCreateInfo, bytes, &decoded);
  };
  const uint16_t mine =
      StructRecordByType(VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO)->number;
  const uint16_t others = StructRecordByType(VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO)->number;
  EXPECT_EQ(decode(kPresent | mine), DecodeResult::kDecoded);
  EXPECT_EQ(decode(kPresent | others), DecodeResult::kMalformed);
  EXPECT_EQ(decode(mine), DecodeResult::kMalformed) << "not marked as present";
  EXPECT_EQ(decode(kPresent | 0xffff), DecodeResult::kMalformed);
  EXPECT_EQ(decode(kPresent | 0x10000 | mine), DecodeResult::kMalformed) << "not cut to 16 bits";
}

TEST_F(DecoderTest, StringsEnd) {
  const Args_vesperGoodbye goodbye{"bye"};
  Buffer bytes;
  const KnownStructs known;
  Encoder(bytes, known, Same).Request(*CommandRecord(number::vesperGoodbye), &goodbye);
  *bytes.At(8 + 3) = std::byte{'!'};
  Args_vesperGoodbye decoded{};
  Reader reader(bytes.Bytes());
  EXPECT_EQ(decoder_.Request(*CommandRecord(number::vesperGoodbye), reader, &decoded),
            DecodeResult::kMalformed);
}

}  // namespace
}  // namespace vesper::proto
