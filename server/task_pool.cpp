// SPDX-License-Identifier: Apache-2.0
#include "server/task_pool.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "transport/quiet_thread.h"

namespace vesper::server {
namespace {

/// What a task takes besides the bytes that it speaks of.
constexpr size_t kTaskBytes = 1024;

/// Blocking tasks at once. More wait: each device of a guest's that has a queue may have one.
constexpr size_t kMaxBlocking = 64;

}  // namespace

TaskPool::TaskPool(unsigned threads, size_t max_bytes) : max_bytes_(max_bytes) {
  max_long_ = threads > 1 ? threads - 1 : 1;
  for (unsigned i = 0; i < threads; ++i) {
    threads_.push_back(transport::StartQuietThread([this] { Run(); }));
  }
}

TaskPool::~TaskPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  blocking_work_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
  // The others have ended: nobody starts any more.
  for (std::thread& thread : blocking_threads_) {
    thread.join();
  }
}

void TaskPool::Post(Task task) {
  task.bytes += kTaskBytes;
  auto node = std::make_shared<Node>();
  node->place = next_place_++;
  node->task = std::move(task);
  std::unique_lock lock(mutex_);
  // One that is large would otherwise wait for all others.
  const size_t room = std::min(node->task.bytes, max_bytes_ / 2);
  ended_.wait(lock, [&] { return bytes_ <= max_bytes_ - room; });
  bytes_ += node->task.bytes;
  unfinished_.fetch_add(1, std::memory_order_relaxed);
  node->waits_for = 1;  // this function
  if (node->task.after_replays) {
    for (const auto& [place, replay] : replays_) {
      PutBehind(node, replay);
    }
  }
  for (const Need& need : node->task.needs) {
    Users& users = users_[need.key];
    uint64_t last = 0;  // place of the one that comes after all those before it
    if (!users.exclusive.empty()) {
      last = users.exclusive.rbegin()->first;
      PutBehind(node, users.exclusive.rbegin()->second);
    }
    if (need.exclusive) {
      for (auto user = users.shared.upper_bound(last); user != users.shared.end(); ++user) {
        PutBehind(node, user->second);
      }
    }
    (need.exclusive ? users.exclusive : users.shared).emplace(node->place, node);
  }
  if (node->task.kind == Kind::kReplay) {
    replays_.emplace(node->place, node);
  }
  if (--node->waits_for == 0) {
    Ready(std::move(node));
  }
}

void TaskPool::PutBehind(const NodePtr& node, const NodePtr& before) {
  if (before != node) {
    before->behind.push_back(node);
    ++node->waits_for;
  }
}

void TaskPool::Ready(NodePtr node) {
  if (node->task.kind == Kind::kBlocking) {
    const uint64_t blocking_place = node->place;
    ready_blocking_.emplace(blocking_place, std::move(node));
    if (ready_blocking_.size() > idle_blocking_ && blocking_threads_.size() < kMaxBlocking &&
        !stopping_) {
      blocking_threads_.push_back(transport::StartQuietThread([this] { RunBlocking(); }));
      ++idle_blocking_;
    }
    blocking_work_.notify_one();
    return;
  }
  auto& queue = node->task.kind == Kind::kLong ? ready_long_ : ready_;
  const uint64_t place = node->place;
  queue.emplace(place, std::move(node));
  work_.notify_one();
}

TaskPool::NodePtr TaskPool::TakeReady() {
  const bool may_be_long = !ready_long_.empty() && long_running_ < max_long_;
  if (ready_.empty() && !may_be_long) {
    return nullptr;
  }
  const bool is_long =
      ready_.empty() || (may_be_long && ready_long_.begin()->first < ready_.begin()->first);
  auto& queue = is_long ? ready_long_ : ready_;
  NodePtr node = std::move(queue.begin()->second);
  queue.erase(queue.begin());
  long_running_ += is_long ? 1 : 0;
  return node;
}

void TaskPool::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    NodePtr node;
    work_.wait(lock, [&] { return stopping_ || (node = TakeReady()) != nullptr; });
    if (node == nullptr) {
      return;
    }
    Execute(node, lock);
    if (stopping_) {
      return;
    }
  }
}

void TaskPool::RunBlocking() {
  std::unique_lock lock(mutex_);
  for (;;) {
    blocking_work_.wait(lock, [&] { return stopping_ || !ready_blocking_.empty(); });
    if (stopping_) {
      return;
    }
    const NodePtr node = std::move(ready_blocking_.begin()->second);
    ready_blocking_.erase(ready_blocking_.begin());
    --idle_blocking_;
    Execute(node, lock);
    ++idle_blocking_;
  }
}

void TaskPool::Execute(const NodePtr& node, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  const std::optional<Key> wanted = node->task.run();
  lock.lock();
  if (node->task.kind == Kind::kLong) {
    --long_running_;
    work_.notify_one();  // there may be another that was kept back
  }
  if (!wanted) {
    Finish(node);
  } else if (const NodePtr before = LastBefore(*wanted, false, node->place)) {
    PutBehind(node, before);
  } else {
    Ready(node);  // it has come meanwhile
  }
}

TaskPool::NodePtr TaskPool::LastBefore(Key key, bool exclusive, uint64_t place) const {
  const auto found = users_.find(key);
  if (found == users_.end()) {
    return nullptr;
  }
  NodePtr last;
  const auto look = [&](const std::map<uint64_t, NodePtr>& users) {
    const auto after = users.lower_bound(place);
    if (after != users.begin() && (!last || last->place < std::prev(after)->first)) {
      last = std::prev(after)->second;
    }
  };
  look(found->second.exclusive);
  if (exclusive) {
    look(found->second.shared);
  }
  return last;
}

void TaskPool::Finish(const NodePtr& node) {
  for (const Need& need : node->task.needs) {
    const auto found = users_.find(need.key);
    if (found == users_.end()) {
      continue;  // the key was named twice
    }
    found->second.exclusive.erase(node->place);
    found->second.shared.erase(node->place);
    if (found->second.exclusive.empty() && found->second.shared.empty()) {
      users_.erase(found);
    }
  }
  replays_.erase(node->place);
  bytes_ -= node->task.bytes;
  for (NodePtr& next : node->behind) {
    if (--next->waits_for == 0) {
      Ready(std::move(next));
    }
  }
  node->behind.clear();
  unfinished_.fetch_sub(1, std::memory_order_release);
  ended_.notify_all();
}

bool TaskPool::IsBlocked(Key key, bool exclusive) const {
  return LastBefore(key, exclusive, UINT64_MAX) != nullptr;
}

bool TaskPool::WouldWait(std::span<const Need> needs, bool after_replays) {
  if (IsIdle()) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  return (after_replays && !replays_.empty()) ||
         std::any_of(needs.begin(), needs.end(),
                     [&](const Need& need) { return IsBlocked(need.key, need.exclusive); });
}

void TaskPool::Wait(Key key, bool exclusive) {
  if (IsIdle()) {
    return;
  }
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return !IsBlocked(key, exclusive); });
}

void TaskPool::WaitForAll() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return unfinished_.load(std::memory_order_relaxed) == 0; });
}

}  // namespace vesper::server
