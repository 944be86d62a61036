// SPDX-License-Identifier: Apache-2.0
#include "client_icd/object_store.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

namespace vesper::client {
namespace {

using proto::HandleType;
using proto::ObjectId;

TEST(ObjectStore, IdsAreDenseByType) {
  ObjectStore store;
  EXPECT_EQ(store.Allocate(HandleType::kBuffer), proto::MakeObjectId(HandleType::kBuffer, 1, 0));
  EXPECT_EQ(store.Allocate(HandleType::kBuffer), proto::MakeObjectId(HandleType::kBuffer, 1, 1));
  EXPECT_EQ(store.Allocate(HandleType::kImage), proto::MakeObjectId(HandleType::kImage, 1, 0));
}

TEST(ObjectStore, AnIndexComesBackWithAnotherGeneration) {
  ObjectStore store;
  int state = 0;
  const ObjectId first = store.Allocate(HandleType::kFence, &state);
  store.Free(first);
  EXPECT_EQ(store.State(first), nullptr);
  const ObjectId second = store.Allocate(HandleType::kFence);
  EXPECT_EQ(second, proto::MakeObjectId(HandleType::kFence, 2, 0));
  EXPECT_EQ(store.State(second), nullptr) << "nothing is inherited";
  store.SetState(second, &state);
  EXPECT_EQ(store.State(second), &state);
  EXPECT_EQ(store.State(first), nullptr);
}

TEST(ObjectStore, FreeingTwiceChangesNothing) {
  ObjectStore store;
  const ObjectId id = store.Allocate(HandleType::kEvent);
  store.Free(id);
  store.Free(id);
  const ObjectId a = store.Allocate(HandleType::kEvent);
  const ObjectId b = store.Allocate(HandleType::kEvent);
  EXPECT_NE(proto::ObjectIndex(a), proto::ObjectIndex(b));
  store.Free(id);  // the old generation
  EXPECT_EQ(store.Allocate(HandleType::kEvent), proto::MakeObjectId(HandleType::kEvent, 1, 2));
}

TEST(ObjectStore, IdsThatNobodyGaveAreIgnored) {
  ObjectStore store;
  for (const ObjectId id : {ObjectId{0}, ~ObjectId{0}, ObjectId{0xff} << 56,
                            proto::MakeObjectId(HandleType::kImage, 1, 500)}) {
    store.Free(id);
    EXPECT_EQ(store.State(id), nullptr);
  }
}

TEST(ObjectStore, ThreadsGetDifferentIds) {
  ObjectStore store;
  constexpr int kThreads = 4;
  constexpr int kRounds = 2000;
  std::vector<std::vector<ObjectId>> kept(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < kRounds; ++round) {
        const ObjectId id = store.Allocate(HandleType::kSemaphore, &store);
        EXPECT_EQ(store.State(id), &store);
        if (round % 3 == 0) {
          kept[static_cast<size_t>(i)].push_back(id);
        } else {
          store.Free(id);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::set<ObjectId> all;
  std::set<uint32_t> indices;
  size_t count = 0;
  for (const auto& ids : kept) {
    count += ids.size();
    for (const ObjectId id : ids) {
      all.insert(id);
      indices.insert(proto::ObjectIndex(id));
    }
  }
  EXPECT_EQ(all.size(), count);
  EXPECT_EQ(indices.size(), count);
}

}  // namespace
}  // namespace vesper::client
