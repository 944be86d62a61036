// SPDX-License-Identifier: Apache-2.0
// The examples of proto/PROTOCOL.md, byte by byte, so that the format cannot drift without notice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "proto/encoder.h"
#include "proto/frame.h"
#include "proto/memory_patch.h"
#include "proto/object_id.h"
#include "proto/records_gen.h"
#include "proto/setup.h"

namespace vesper::proto {
namespace {

namespace number = command_number;

// Handles of these tests are their ids.
uint64_t Same(HandleType, uint64_t handle) { return handle; }

template <typename Handle>
Handle Id(HandleType type, uint32_t index) {
  return reinterpret_cast<Handle>(MakeObjectId(type, 1, index));
}

std::string Hex(std::span<const std::byte> bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    char digits[4];
    std::snprintf(digits, sizeof(digits), "%02x", std::to_integer<unsigned>(bytes[i]));
    text += digits;
    text += i % 8 == 7 ? '\n' : ' ';
  }
  return text;
}

/// A whole frame with one command in it.
template <typename Args>
std::string Frame(uint16_t command, uint16_t flags, uint64_t serial, const Args& args) {
  Buffer buffer;
  const KnownStructs known;
  Encoder encoder(buffer, known, Same);
  const size_t frame = BeginFrame(buffer, FrameType::kCommands);
  const size_t header = BeginCommand(buffer, command, flags, serial);
  if ((flags & kIsReply) != 0) {
    encoder.Reply(*CommandRecord(command), &args);
  } else {
    encoder.Request(*CommandRecord(command), &args);
  }
  EXPECT_TRUE(FinishCommand(buffer, header));
  FinishFrame(buffer, frame);
  return Hex(buffer.Bytes());
}

TEST(Golden, CallWithChainAndGarbage) {
  // Zeroed first: padding inside an image travels as it is.
  VkBufferUsageFlags2CreateInfo usage;
  std::memset(&usage, 0, sizeof(usage));
  usage.sType = VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO;
  usage.usage = 2;
  VkBufferCreateInfo info;
  std::memset(&info, 0, sizeof(info));
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.pNext = &usage;
  info.size = 65536;
  info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  info.pQueueFamilyIndices = reinterpret_cast<const uint32_t*>(0xdeadbeefu);
  VkBuffer buffer = Id<VkBuffer>(HandleType::kBuffer, 0);
  Args_vkCreateBuffer args;
  std::memset(static_cast<void*>(&args), 0, sizeof(args));
  args.device = Id<VkDevice>(HandleType::kDevice, 0);
  args.pCreateInfo = &info;
  args.pBuffer = &buffer;
  EXPECT_EQ(Frame(number::vkCreateBuffer, kWantsReply, 7, args),
            "90 00 00 00 04 00 00 00\n"
            "90 00 00 00 15 00 01 00\n"
            "07 00 00 00 00 00 00 00\n"
            "00 00 00 00 01 00 00 03\n"
            "01 00 00 00 00 00 00 80\n"
            "00 00 00 00 00 00 00 00\n"
            "01 00 00 00 00 00 00 80\n"
            "00 00 00 00 00 00 00 00\n"
            "0c 00 00 00 00 00 00 00\n"
            "0b 00 00 00 00 00 00 80\n"
            "00 00 00 00 00 00 00 00\n"
            "00 00 01 00 00 00 00 00\n"
            "02 00 00 00 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"
            "f6 f5 a1 3b 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"
            "02 00 00 00 00 00 00 00\n"
            "00 00 00 00 01 00 00 08\n");
}

TEST(Golden, Reply) {
  VkBuffer buffer = Id<VkBuffer>(HandleType::kBuffer, 0);
  const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  Args_vkCreateBuffer args;
  std::memset(static_cast<void*>(&args), 0, sizeof(args));
  args.device = Id<VkDevice>(HandleType::kDevice, 0);
  args.pCreateInfo = &info;
  args.pBuffer = &buffer;
  EXPECT_EQ(Frame(number::vkCreateBuffer, kIsReply, 7, args),
            "40 00 00 00 04 00 00 00\n"
            "40 00 00 00 15 00 02 00\n"
            "07 00 00 00 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"
            "01 00 00 00 00 00 00 80\n"
            "00 00 00 00 00 00 00 00\n"
            "00 00 00 00 01 00 00 08\n");
}

TEST(Golden, Shape) {
  VkFormatProperties3 properties3{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3};
  VkFormatProperties2 properties{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2, &properties3, {}};
  Args_vkGetPhysicalDeviceFormatProperties2 args;
  std::memset(static_cast<void*>(&args), 0, sizeof(args));
  args.physicalDevice = Id<VkPhysicalDevice>(HandleType::kPhysicalDevice, 0);
  args.format = VK_FORMAT_R8G8B8A8_UNORM;
  args.pFormatProperties = &properties;
  EXPECT_EQ(Frame(number::vkGetPhysicalDeviceFormatProperties2, kWantsReply, 8, args),
            "38 00 00 00 04 00 00 00\n"
            "38 00 00 00 84 00 01 00\n"
            "08 00 00 00 00 00 00 00\n"
            "00 00 00 00 01 00 00 02\n"
            "25 00 00 00 00 00 00 00\n"
            "01 00 00 00 00 00 00 80\n"
            "33 01 00 00 00 00 00 80\n"
            "00 00 00 00 00 00 00 00\n");
}

TEST(Golden, Push) {
  const Args_vesperProgress args{MakeObjectId(HandleType::kQueue, 1, 0), 3};
  EXPECT_EQ(Frame(number::vesperProgress, 0, 0, args),
            "18 00 00 00 04 00 00 00\n"
            "18 00 00 00 63 01 00 00\n"
            "00 00 00 00 01 00 00 04\n"
            "03 00 00 00 00 00 00 00\n");
}

TEST(Golden, StringsAndHandles) {
  const Args_vesperGoodbye goodbye{"the end"};
  EXPECT_EQ(Frame(number::vesperGoodbye, 0, 0, goodbye),
            "18 00 00 00 04 00 00 00\n"
            "18 00 00 00 67 01 00 00\n"
            "08 00 00 00 00 00 00 80\n"
            "74 68 65 20 65 6e 64 00\n");
}

TEST(Golden, MemoryPatch) {
  std::vector<std::byte> live(4096);
  std::vector<std::byte> twin(4096);
  live[0] = std::byte{0xaa};
  live[2] = std::byte{0xbb};
  live[63] = std::byte{0xcc};
  std::fill_n(live.begin() + 64, 128, std::byte{0x11});
  Buffer patch;
  EXPECT_EQ(MakePatch(live.data(), twin.data(), 0, live.size(), 1u << 20, patch), live.size());
  std::string expected =
      "00 00 00 00 00 00 00 80\n"
      "05 00 00 00 00 00 00 80\n"
      "aa bb cc 00 00 00 00 00\n"
      "40 00 00 00 00 00 00 00\n"
      "80 00 00 00 00 00 00 00\n";
  for (int i = 0; i < 16; ++i) {
    expected += "11 11 11 11 11 11 11 11\n";
  }
  EXPECT_EQ(Hex(patch.Bytes()), expected);
  EXPECT_EQ(live, twin);

  std::fill_n(live.begin() + 64, 128, std::byte{0});
  patch.Clear();
  EXPECT_EQ(MakePatch(live.data(), twin.data(), 0, live.size(), 1u << 20, patch), live.size());
  EXPECT_EQ(Hex(patch.Bytes()),
            "40 00 00 00 00 00 00 40\n"
            "80 00 00 00 00 00 00 00\n");
}

TEST(Golden, Hello) {
  Hello hello;
  hello.page_size = 4096;
  hello.pid = 0x1234;
  hello.probe = true;
  hello.compare_all_memory = true;
  hello.compression = 3;
  hello.always_compress = false;
  hello.ring_bytes = 1u << 20;
  hello.application_version = 1;
  hello.engine_version = 2;
  hello.api_version = VK_API_VERSION_1_4;
  hello.application_name = "app";
  hello.engine_name = "";
  hello.program = "program12";
  hello.command_hashes = {0, 0xaabbccdd};
  hello.struct_hashes = {0x11};
  hello.extensions = {"VK_A"};
  Buffer buffer;
  EncodeHello(hello, buffer);
  EXPECT_EQ(Hex(buffer.Bytes()),
            "d8 00 00 00 01 00 00 00\n"
            "76 65 73 70 65 72 00 00\n"  // magic
            "05 00 00 00 00 00 00 00\n"  // version
            "00 10 00 00 00 00 00 00\n"
            "34 12 00 00 00 00 00 00\n"
            "01 00 00 00 00 00 00 00\n"
            "01 00 00 00 00 00 00 00\n"
            "03 00 00 00 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"
            "00 00 10 00 00 00 00 00\n"
            "01 00 00 00 00 00 00 00\n"
            "02 00 00 00 00 00 00 00\n"
            "00 40 40 00 00 00 00 00\n"
            "03 00 00 00 00 00 00 00\n"
            "61 70 70 00 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"
            "09 00 00 00 00 00 00 00\n"
            "70 72 6f 67 72 61 6d 31\n"
            "32 00 00 00 00 00 00 00\n"
            "00 00 00 00 00 00 00 00\n"  // no key
            "02 00 00 00 00 00 00 00\n"
            "00 00 00 00 dd cc bb aa\n"
            "01 00 00 00 00 00 00 00\n"
            "11 00 00 00 00 00 00 00\n"
            "01 00 00 00 00 00 00 00\n"
            "04 00 00 00 00 00 00 00\n"
            "56 4b 5f 41 00 00 00 00\n");
}

TEST(Golden, Refusal) {
  Buffer buffer;
  EncodeRefusal("no", buffer);
  EXPECT_EQ(Hex(buffer.Bytes()),
            "10 00 00 00 03 00 00 00\n"
            "02 00 00 00 00 00 00 00\n"
            "6e 6f 00 00 00 00 00 00\n");
}

}  // namespace
}  // namespace vesper::proto
