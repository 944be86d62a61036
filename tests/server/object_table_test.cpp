// SPDX-License-Identifier: Apache-2.0
#include "server/object_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

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
  ObjectResolver resolver(table);
  ASSERT_TRUE(table.Add(Buffer(3), 0x1234, nullptr));
  uint64_t handle = 0;
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(3), &handle), Resolution::kResolved);
  EXPECT_EQ(handle, 0x1234u);
  EXPECT_EQ(table.Handle(Buffer(3)), 0x1234u);
}

TEST(ObjectTable, IdsOfAnotherTypeAreInvalid) {
  ObjectTable table;
  ObjectResolver resolver(table);
  ASSERT_TRUE(table.Add(Buffer(0), 0x1234, nullptr));
  uint64_t handle = 0;
  EXPECT_EQ(resolver.Resolve(HandleType::kImage, Buffer(0), &handle), Resolution::kInvalid);
  EXPECT_EQ(resolver.Resolve(HandleType::kNone, Buffer(0), &handle), Resolution::kInvalid);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, ~ObjectId{0}, &handle), Resolution::kInvalid);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(proto::kMaxObjectIndex), &handle),
            Resolution::kInvalid);
}

TEST(ObjectTable, DeadAndUnknownIdsAreOnlyUnavailable) {
  ObjectTable table;
  ObjectResolver resolver(table);
  uint64_t handle = 0;
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kUnavailable);
  ASSERT_TRUE(table.Add(Buffer(0), 1, nullptr));
  table.Remove(Buffer(0));
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kUnavailable);
  EXPECT_EQ(table.Handle(Buffer(0)), 0u);
  ASSERT_TRUE(table.Add(Buffer(0, 2), 2, nullptr));
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0, 1), &handle), Resolution::kUnavailable)
      << "a late message must not reach the successor";
  table.Remove(Buffer(0, 1));
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0, 2), &handle), Resolution::kResolved)
      << "nor destroy it";
}

TEST(ObjectTable, PoisonedIdsResolveToNothing) {
  ObjectTable table;
  ObjectResolver resolver(table);
  ASSERT_TRUE(table.AddPoisoned(Buffer(0)));
  uint64_t handle = 0;
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kPoisoned);
  ASSERT_TRUE(table.Add(Buffer(0, 2), 9, nullptr));
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0, 2), &handle), Resolution::kResolved);
}

TEST(ObjectTable, CommandBuffersAreBrokenUntilTheyBeginAnew) {
  ObjectTable table;
  ObjectResolver resolver(table);
  const ObjectId id = MakeObjectId(HandleType::kCommandBuffer, 1, 0);
  ASSERT_TRUE(table.Add(id, 5, nullptr));
  uint64_t handle = 0;
  table.SetBroken(id, true);
  EXPECT_EQ(resolver.Resolve(HandleType::kCommandBuffer, id, &handle), Resolution::kBroken);
  table.SetBroken(id, false);
  EXPECT_EQ(resolver.Resolve(HandleType::kCommandBuffer, id, &handle), Resolution::kResolved);
  table.SetBroken(~ObjectId{0}, true);  // ids that do not exist are ignored
}

TEST(ObjectTable, WhatIsBrokenByItsHandleStaysSoUntilItIsMadeAnew) {
  ObjectTable table;
  ObjectResolver resolver(table);
  ASSERT_TRUE(table.Add(Buffer(0), 7, nullptr));
  ASSERT_TRUE(table.Add(Buffer(1), 8, nullptr));
  const ObjectId image = MakeObjectId(HandleType::kImage, 1, 0);
  ASSERT_TRUE(table.Add(image, 8, nullptr));
  table.Break(HandleType::kBuffer, 8);
  uint64_t handle = 0;
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kResolved);
  EXPECT_EQ(resolver.Resolve(HandleType::kImage, image, &handle), Resolution::kResolved);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(1), &handle), Resolution::kBroken);
  EXPECT_EQ(handle, 8u) << "it can be destroyed";
  table.Remove(Buffer(1));
  ASSERT_TRUE(table.Add(Buffer(1, 2), 9, nullptr));
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(1, 2), &handle), Resolution::kResolved);
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
  ObjectResolver resolver(table);
  ASSERT_TRUE(table.Add(Buffer(0), 1, FakeDevice(1)));
  ASSERT_TRUE(table.Add(Buffer(1), 2, FakeDevice(2)));
  ASSERT_TRUE(table.Add(Buffer(2), 3, nullptr));
  uint64_t handle = 0;
  resolver.BeginCommand();
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(2), &handle), Resolution::kResolved);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kResolved);
  EXPECT_EQ(resolver.device(), FakeDevice(1));
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(1), &handle), Resolution::kInvalid);
  resolver.BeginCommand();
  EXPECT_EQ(resolver.device(), nullptr);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(1), &handle), Resolution::kResolved);
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

TEST(ObjectTable, PendingObjectsAreForWhatComesAfterTheirMaker) {
  ObjectTable table;
  ObjectResolver resolver(table);
  ASSERT_TRUE(table.AddPending(Buffer(0), FakeDevice(1), 5));
  EXPECT_EQ(table.Handle(Buffer(0)), 0u);
  EXPECT_EQ(table.DeviceOf(Buffer(0)), FakeDevice(1));
  uint64_t handle = 1;
  resolver.SetPlace(4);
  resolver.BeginCommand();
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kUnavailable);
  EXPECT_EQ(resolver.pending(), 0u) << "nobody waits for what comes later";
  resolver.SetPlace(6);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kResolved);
  EXPECT_EQ(resolver.pending(), Buffer(0));
  EXPECT_EQ(handle, 0u);
  ASSERT_TRUE(table.Add(Buffer(0), 7, FakeDevice(1)));
  resolver.BeginCommand();
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kResolved);
  EXPECT_EQ(resolver.pending(), 0u);
  EXPECT_EQ(handle, 7u);
}

TEST(ObjectTable, DyingObjectsAreThereForWhatComesBefore) {
  ObjectTable table;
  ObjectResolver resolver(table);
  ASSERT_TRUE(table.Add(Buffer(0), 7, FakeDevice(1)));
  table.SetDying(Buffer(0), 5);
  table.SetDying(Buffer(0), 9);  // the first counts
  // The guest gives the index to another object at once.
  ASSERT_TRUE(table.Add(Buffer(0, 2), 8, FakeDevice(1)));
  uint64_t handle = 0;
  for (const uint64_t place : {4, 5}) {  // the destruction itself needs it, too
    resolver.SetPlace(place);
    EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kResolved);
    EXPECT_EQ(handle, 7u);
  }
  resolver.SetPlace(6);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kUnavailable);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0, 2), &handle), Resolution::kResolved);
  EXPECT_EQ(handle, 8u);
  table.Remove(Buffer(0));
  resolver.SetPlace(4);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kUnavailable);
  EXPECT_EQ(table.Handle(Buffer(0, 2)), 8u);
}

TEST(ObjectTable, WhatIsDestroyedBeforeItIsMadeDiesAllTheSame) {
  ObjectTable table;
  ObjectResolver resolver(table);
  ASSERT_TRUE(table.AddPending(Buffer(0), nullptr, 3));
  table.SetDying(Buffer(0), 5);
  ASSERT_TRUE(table.AddPending(Buffer(0, 2), nullptr, 6));
  ASSERT_TRUE(table.Add(Buffer(0), 7, nullptr));  // by its task
  uint64_t handle = 0;
  resolver.SetPlace(4);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kResolved);
  EXPECT_EQ(handle, 7u);
  resolver.SetPlace(6);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kUnavailable);
}

TEST(ObjectTable, NamesAreRememberedWhateverTheyStandFor) {
  ObjectTable table;
  ObjectResolver resolver(table);
  ASSERT_TRUE(table.Add(Buffer(0), 1, nullptr));
  resolver.SetCollecting(true);
  resolver.BeginCommand();
  uint64_t handle = 0;
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(1), &handle), Resolution::kUnavailable);
  EXPECT_EQ(resolver.Resolve(HandleType::kBuffer, Buffer(0), &handle), Resolution::kResolved);
  EXPECT_EQ(resolver.named(), (std::vector<ObjectId>{Buffer(1), Buffer(0)}));
}

// Readers see each object whole or not at all, while its slot is given on and on.
TEST(ObjectTable, LookingTakesNoLock) {
  ObjectTable table;
  std::atomic<bool> done{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        for (uint32_t generation = 1; generation < 200; ++generation) {
          const std::optional<ObjectTable::Object> object = table.Find(Buffer(0, generation));
          if (object && object->state == ObjectTable::State::kLive &&
              (object->handle != generation || object->device != FakeDevice(generation))) {
            ++wrong;
          }
        }
      }
    });
  }
  for (int round = 0; round < 50; ++round) {
    for (uint32_t generation = 1; generation < 200; ++generation) {
      ASSERT_TRUE(table.Add(Buffer(0, generation), generation, FakeDevice(generation)));
      table.SetDying(Buffer(0, generation), 3);
      ASSERT_TRUE(table.Add(Buffer(generation * 100), 1, nullptr));  // the table grows
      if (generation > 5) {
        table.Remove(Buffer(0, generation - 5));
      }
    }
    for (uint32_t generation = 1; generation < 200; ++generation) {
      table.Remove(Buffer(0, generation));
    }
  }
  done = true;
  for (std::thread& reader : readers) {
    reader.join();
  }
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace vesper::server
