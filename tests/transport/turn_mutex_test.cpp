// SPDX-License-Identifier: Apache-2.0
#include "transport/turn_mutex.h"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>
#include <vector>

namespace vesper::transport {
namespace {

TEST(TurnMutexTest, WhoAskedComesBeforeTheNextPiece) {
  for (int round = 0; round < 200; ++round) {
    TurnMutex mutex;
    bool has_passed = false;
    std::thread other;
    {
      const TurnMutex::Piece piece(mutex);
      other = std::thread([&] {
        const std::lock_guard lock(mutex);
        has_passed = true;
      });
      while (!mutex.IsWanted()) {
        std::this_thread::yield();
      }
    }
    {
      const TurnMutex::Piece piece(mutex);
      EXPECT_TRUE(has_passed);
    }
    other.join();
  }
}

TEST(TurnMutexTest, ExcludesEverybody) {
  TurnMutex mutex;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 2000; ++k) {
        if (i % 2 == 0) {
          const TurnMutex::Piece piece(mutex);
          ++count;
        } else {
          const std::lock_guard lock(mutex);
          ++count;
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(count, 8000);
  EXPECT_FALSE(mutex.IsWanted());
}

}  // namespace
}  // namespace vesper::transport
