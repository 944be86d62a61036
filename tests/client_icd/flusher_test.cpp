// SPDX-License-Identifier: Apache-2.0
#include "client_icd/flusher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace vesper::client {
namespace {

using Clock = Flusher::Clock;
using std::chrono::milliseconds;

// What somebody queues and the flusher takes away.
struct Queue {
  void Put(Flusher& flusher, milliseconds within) {
    ++queued;
    EXPECT_TRUE(flusher.By(Clock::now() + within));
  }
  void WaitUntilEmpty() const {
    while (queued.load() != 0) {
      std::this_thread::yield();
    }
  }
  std::atomic<int> queued{0};
};

TEST(FlusherTest, FlushesWhatNobodyElseDoes) {
  Queue queue;
  Flusher flusher([&] { queue.queued = 0; });
  for (int i = 0; i < 20; ++i) {
    queue.Put(flusher, milliseconds(i % 3));
    queue.WaitUntilEmpty();
  }
  std::this_thread::sleep_for(milliseconds(60));  // it sleeps for good
  queue.Put(flusher, milliseconds(1));
  queue.WaitUntilEmpty();
}

TEST(FlusherTest, WhoIsEarlierIsNotHeldUpByWhoIsLater) {
  Queue queue;
  Flusher flusher([&] { queue.queued = 0; });
  EXPECT_TRUE(flusher.By(Clock::now() + std::chrono::hours(1)));
  queue.Put(flusher, milliseconds(1));
  queue.WaitUntilEmpty();
}

TEST(FlusherTest, NothingIsMissedWhenManyAsk) {
  Queue queue;
  Flusher flusher([&] { queue.queued = 0; });
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 300; ++k) {
        queue.Put(flusher, milliseconds(k % 7 == 0 ? 1 : 0));
        if (k % 50 == 0) {
          queue.WaitUntilEmpty();
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  queue.WaitUntilEmpty();
}

TEST(FlusherTest, EndsWhileSomethingIsDue) {
  int flushed = 0;
  {
    Flusher flusher([&] { ++flushed; });
    EXPECT_TRUE(flusher.By(Clock::now() + std::chrono::hours(1)));
  }
  EXPECT_EQ(flushed, 0);
  const Flusher unused([] {});
}

}  // namespace
}  // namespace vesper::client
