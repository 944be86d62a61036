// SPDX-License-Identifier: Apache-2.0
#include "server/task_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <thread>

#include "tests/framework/random.h"

namespace vesper::server {
namespace {

using Kind = TaskPool::Kind;

class TaskPoolTest : public testing::Test {
 protected:
  // A task that does nothing until the future is ready, and then notes its name.
  TaskPool::Task Make(int name, std::vector<TaskPool::Need> needs,
                      std::shared_future<void> until = {}, Kind kind = Kind::kOther) {
    TaskPool::Task task;
    task.kind = kind;
    task.needs = std::move(needs);
    task.run = [this, name, until]() -> std::optional<TaskPool::Key> {
      if (until.valid()) {
        until.wait();
      }
      Note(name);
      return std::nullopt;
    };
    return task;
  }
  void Note(int name) {
    const std::lock_guard lock(mutex_);
    order_.push_back(name);
  }
  std::vector<int> Order() {
    const std::lock_guard lock(mutex_);
    return order_;
  }

  std::promise<void> gate_;
  std::shared_future<void> open_{gate_.get_future()};
  std::mutex mutex_;
  std::vector<int> order_;
};

TEST_F(TaskPoolTest, ExclusiveNeedsKeepTheirOrderWhileOthersGoOn) {
  TaskPool pool(2);
  pool.Post(Make(1, {{7, true}}, open_));
  pool.Post(Make(2, {{7, true}}));
  pool.Post(Make(3, {{8, true}}));
  pool.Wait(8, true);
  EXPECT_EQ(Order(), std::vector<int>{3});
  gate_.set_value();
  pool.WaitForAll();
  EXPECT_EQ(Order(), (std::vector<int>{3, 1, 2}));
}

TEST_F(TaskPoolTest, SharedNeedsOverlapAndTheExclusiveOneWaitsForAll) {
  TaskPool pool(3);
  std::promise<void> first;
  std::promise<void> second;
  TaskPool::Task a = Make(1, {{7, false}}, second.get_future().share());
  a.run = [&, run = a.run] {
    first.set_value();
    return run();
  };
  TaskPool::Task b = Make(2, {{7, false}}, first.get_future().share());
  b.run = [&, run = b.run] {
    const auto result = run();
    second.set_value();
    return result;
  };
  pool.Post(std::move(a));  // each waits for the other: they must run at the same time
  pool.Post(std::move(b));
  pool.Post(Make(3, {{7, true}}));
  pool.Post(Make(4, {{7, false}}));
  pool.Wait(7, true);
  EXPECT_EQ(Order(), (std::vector<int>{2, 1, 3, 4}));
}

TEST_F(TaskPoolTest, AfterReplaysMeansThoseBefore) {
  TaskPool pool(3);
  pool.Post(Make(1, {{7, true}}, open_, Kind::kReplay));
  TaskPool::Task task = Make(2, {{9, true}});
  task.after_replays = true;
  const TaskPool::Need need{9, true};
  EXPECT_TRUE(pool.WouldWait({&need, 1}, true));
  EXPECT_FALSE(pool.WouldWait({&need, 1}, false));
  pool.Post(std::move(task));
  EXPECT_TRUE(pool.WouldWait({&need, 1}, false));
  pool.Post(Make(3, {{8, true}}, {}, Kind::kReplay));
  pool.Wait(8, true);
  EXPECT_EQ(Order(), std::vector<int>{3});
  gate_.set_value();
  pool.WaitForAll();
  EXPECT_EQ(Order(), (std::vector<int>{3, 1, 2}));
}

TEST_F(TaskPoolTest, LongTasksLeaveOneThread) {
  TaskPool pool(2);
  pool.Post(Make(1, {{1, true}}, open_, Kind::kLong));
  pool.Post(Make(2, {{2, true}}, open_, Kind::kLong));
  pool.Post(Make(3, {{3, true}}));
  pool.Wait(3, true);
  EXPECT_EQ(Order(), std::vector<int>{3});
  gate_.set_value();
  pool.WaitForAll();
  EXPECT_EQ(Order().size(), 3u);
}

// A task that needs something only found out later gives its thread back meanwhile.
TEST_F(TaskPoolTest, ATaskMayFindOutLaterWhatItNeeds) {
  TaskPool pool(1);
  std::atomic<bool> made{false};
  std::atomic<int> begun{0};
  TaskPool::Task maker = Make(1, {{7, true}, {5, true}});
  maker.run = [&, run = maker.run] {
    made = true;
    return run();
  };
  pool.Post(Make(0, {{5, true}}, open_));
  pool.Post(std::move(maker));
  TaskPool::Task user = Make(2, {{8, true}});
  user.run = [&, run = user.run]() -> std::optional<TaskPool::Key> {
    ++begun;
    return made ? run() : std::optional<TaskPool::Key>(7);
  };
  pool.Post(std::move(user));
  pool.Post(Make(3, {{7, true}}));  // comes after it and is not what it waits for
  pool.Post(Make(4, {{9, true}}));
  gate_.set_value();
  pool.WaitForAll();
  std::vector<int> order = Order();
  EXPECT_LT(std::find(order.begin(), order.end(), 1), std::find(order.begin(), order.end(), 2));
  EXPECT_EQ(order.size(), 5u);
  EXPECT_LE(begun, 2);
}

TEST_F(TaskPoolTest, BlockingTasksTakeNoThread) {
  TaskPool pool(1);
  pool.Post(Make(1, {{7, true}}, open_, Kind::kBlocking));
  pool.Post(Make(2, {{8, true}}, open_, Kind::kBlocking));
  pool.Post(Make(3, {{7, true}}));
  pool.Post(Make(4, {{9, true}}));
  pool.Wait(9, true);
  EXPECT_EQ(Order(), std::vector<int>{4});
  gate_.set_value();
  pool.WaitForAll();
  EXPECT_EQ(Order().size(), 4u);
  pool.Post(Make(5, {{7, true}}, {}, Kind::kBlocking));
  pool.WaitForAll();
  EXPECT_EQ(Order().back(), 5);
}

TEST_F(TaskPoolTest, WaitingTasksAreBoundedInBytes) {
  TaskPool pool(1, 10'000);
  TaskPool::Task large = Make(1, {}, open_);
  large.bytes = 8'000;
  pool.Post(std::move(large));
  std::atomic<bool> posted{false};
  std::thread poster([&] {
    TaskPool::Task other = Make(2, {});
    other.bytes = 8'000;
    pool.Post(std::move(other));
    posted = true;
    TaskPool::Task enormous = Make(3, {});
    enormous.bytes = 1'000'000;  // alone it may
    pool.Post(std::move(enormous));
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(posted);
  gate_.set_value();
  poster.join();
  pool.WaitForAll();
  EXPECT_EQ(Order(), (std::vector<int>{1, 2, 3}));
}

TEST_F(TaskPoolTest, WhatHasNotBegunIsDroppedAtTheEnd) {
  std::thread opener;
  {
    TaskPool pool(1);
    std::promise<void> begun;
    TaskPool::Task task = Make(1, {{7, true}}, open_);
    task.run = [&, run = task.run] {
      begun.set_value();
      return run();
    };
    pool.Post(std::move(task));
    pool.Post(Make(2, {{7, true}}));
    begun.get_future().wait();
    opener = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      gate_.set_value();
    });
  }
  opener.join();
  EXPECT_EQ(Order(), std::vector<int>{1});
}

// Random needs: on every key, tasks that need it otherwise than shared happen in order, and alone.
TEST_F(TaskPoolTest, RandomTasksKeepTheOrderOfTheirKeys) {
  constexpr uint64_t kKeys = 6;
  constexpr int kTasks = 2000;
  tests::Random random(17);
  struct State {
    std::atomic<int> readers{0};
    std::atomic<int> writers{0};
    std::atomic<int> last_writer{-1};
  };
  std::vector<State> states(kKeys);
  std::atomic<int> faults{0};
  TaskPool pool(4);
  for (int i = 0; i < kTasks; ++i) {
    TaskPool::Task task;
    for (uint64_t key = 0; key < kKeys; ++key) {
      if (random.Below(3) == 0) {
        task.needs.push_back({key, random.Below(2) == 0});
      }
    }
    task.kind = random.Below(4) == 0 ? Kind::kLong : Kind::kReplay;
    task.run = [&states, &faults, i, needs = task.needs,
                again = random.Below(5) == 0]() mutable -> std::optional<TaskPool::Key> {
      if (again) {
        again = false;
        return 3;
      }
      for (const auto& [key, exclusive] : needs) {
        State& state = states[key];
        faults += state.last_writer >= i || state.writers != 0 ? 1 : 0;
        if (exclusive) {
          faults += state.readers != 0 ? 1 : 0;
          ++state.writers;
          state.last_writer = i;
        } else {
          ++state.readers;
        }
      }
      std::this_thread::yield();
      for (const auto& [key, exclusive] : needs) {
        --(exclusive ? states[key].writers : states[key].readers);
      }
      return std::nullopt;
    };
    pool.Post(std::move(task));
  }
  pool.WaitForAll();
  EXPECT_EQ(faults, 0);
}

}  // namespace
}  // namespace vesper::server
