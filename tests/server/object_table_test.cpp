// SPDX-License-Identifier: Apache-2.0
#include "server/object_table.h"

#include <gtest/gtest.h>

#include "proto/limits.h"

namespace vesper::server {
namespace {

using proto::HandleType;
using proto::MakeObjectId;
using proto::ObjectId;
using proto::Resolution;

// The table only compares devices, it never looks inside one.
HostDevice* FakeDevice(uintptr_t number) { return reinterpret_cast<HostDevice*>(number << 4); }

ObjectId Buffer(uint32_t index, uint32_t generation = 1) {
  return MakeObjectId(HandleType::kBuffer, generation, index);
}

TEST(ObjectTable, ResolvesWhatWasAdded) {
  ObjectTable table;
  ASSERT_TRUE(table.Add(Buffer(3), 0x1234, nullptr));
  uint64_t handle = 0;
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(3), &handle), Resolution::kResolved);
  EXPECT_EQ(handle, 0x1234u);
  EXPECT_EQ(table.Handle(Buffer(3)), 0x1234u);
}

TEST(ObjectTable, IdsOfAnotherTypeAreInvalid) {
  ObjectTable table;
  ASSERT_TRUE(table.Add(Buffer(0), 0x1234, nullptr));
  uint64_t handle = 0;
  EXPECT_EQ(table.Resolve(HandleType::kImage, Buffer(0), &handle), Resolution::kInvalid);
  EXPECT_EQ(table.Resolve(HandleType::kNone, Buffer(0), &handle), Resolution::kInvalid);
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, ~ObjectId{0}, &handle), Resolution::kInvalid);
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(proto::kMaxObjectIndex), &handle),
            Resolution::kInvalid);
}

TEST(ObjectTable, DeadAndUnknownIdsAreOnlyUnavailable) {
  ObjectTable table;
  uint64_t handle = 0;
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kUnavailable);
  ASSERT_TRUE(table.Add(Buffer(0), 1, nullptr));
  table.Remove(Buffer(0));
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kUnavailable);
  EXPECT_EQ(table.Handle(Buffer(0)), 0u);
  ASSERT_TRUE(table.Add(Buffer(0, 2), 2, nullptr));
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(0, 1), &handle), Resolution::kUnavailable)
      << "a late message must not reach the successor";
  table.Remove(Buffer(0, 1));
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(0, 2), &handle), Resolution::kResolved)
      << "nor destroy it";
}

TEST(ObjectTable, PoisonedIdsResolveToNothing) {
  ObjectTable table;
  ASSERT_TRUE(table.AddPoisoned(Buffer(0)));
  uint64_t handle = 0;
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kPoisoned);
  ASSERT_TRUE(table.Add(Buffer(0, 2), 9, nullptr));
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(0, 2), &handle), Resolution::kResolved);
}

TEST(ObjectTable, CommandBuffersAreBrokenUntilTheyBeginAnew) {
  ObjectTable table;
  const ObjectId id = MakeObjectId(HandleType::kCommandBuffer, 1, 0);
  ASSERT_TRUE(table.Add(id, 5, nullptr));
  uint64_t handle = 0;
  table.SetBroken(id, true);
  EXPECT_EQ(table.Resolve(HandleType::kCommandBuffer, id, &handle), Resolution::kBroken);
  table.SetBroken(id, false);
  EXPECT_EQ(table.Resolve(HandleType::kCommandBuffer, id, &handle), Resolution::kResolved);
  table.SetBroken(~ObjectId{0}, true);  // ids that do not exist are ignored
}

TEST(ObjectTable, WhatIsBrokenByItsHandleStaysSoUntilItIsMadeAnew) {
  ObjectTable table;
  ASSERT_TRUE(table.Add(Buffer(0), 7, nullptr));
  ASSERT_TRUE(table.Add(Buffer(1), 8, nullptr));
  const ObjectId image = MakeObjectId(HandleType::kImage, 1, 0);
  ASSERT_TRUE(table.Add(image, 8, nullptr));
  table.Break(HandleType::kBuffer, 8);
  uint64_t handle = 0;
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kResolved);
  EXPECT_EQ(table.Resolve(HandleType::kImage, image, &handle), Resolution::kResolved);
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(1), &handle), Resolution::kBroken);
  EXPECT_EQ(handle, 8u) << "it can be destroyed";
  table.Remove(Buffer(1));
  ASSERT_TRUE(table.Add(Buffer(1, 2), 9, nullptr));
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(1, 2), &handle), Resolution::kResolved);
}

TEST(ObjectTable, NewIdsMustBeDense) {
  ObjectTable table;
  EXPECT_TRUE(table.Add(Buffer(1u << 16), 1, nullptr));
  EXPECT_FALSE(table.Add(Buffer((1u << 17) + 2), 1, nullptr)) << "too far ahead";
  EXPECT_FALSE(table.Add(Buffer(0xffff'ffff), 1, nullptr));
  EXPECT_FALSE(table.AddPoisoned(Buffer(0xffff'ffff)));
  EXPECT_FALSE(table.Add(0, 1, nullptr));
  EXPECT_FALSE(table.Add(~ObjectId{0}, 1, nullptr));
  EXPECT_FALSE(
      table.Add(MakeObjectId(static_cast<HandleType>(proto::kHandleTypeCount), 1, 0), 1, nullptr));
}

TEST(ObjectTable, OneCommandMeetsOneDevice) {
  ObjectTable table;
  ASSERT_TRUE(table.Add(Buffer(0), 1, FakeDevice(1)));
  ASSERT_TRUE(table.Add(Buffer(1), 2, FakeDevice(2)));
  ASSERT_TRUE(table.Add(Buffer(2), 3, nullptr));
  uint64_t handle = 0;
  table.BeginCommand();
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(2), &handle), Resolution::kResolved);
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kResolved);
  EXPECT_EQ(table.device(), FakeDevice(1));
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(1), &handle), Resolution::kInvalid);
  table.BeginCommand();
  EXPECT_EQ(table.device(), nullptr);
  EXPECT_EQ(table.Resolve(HandleType::kBuffer, Buffer(1), &handle), Resolution::kResolved);
}

TEST(ObjectTable, ObjectsGoWithTheirDevice) {
  ObjectTable table;
  ASSERT_TRUE(table.Add(Buffer(0), 1, FakeDevice(1)));
  ASSERT_TRUE(table.Add(Buffer(1), 2, FakeDevice(2)));
  table.RemoveAllOf(FakeDevice(1));
  EXPECT_EQ(table.Handle(Buffer(0)), 0u);
  EXPECT_EQ(table.DeviceOf(Buffer(0)), nullptr);
  EXPECT_EQ(table.Handle(Buffer(1)), 2u);
  EXPECT_EQ(table.DeviceOf(Buffer(1)), FakeDevice(2));
}

}  // namespace
}  // namespace vesper::server
