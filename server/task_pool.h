// SPDX-License-Identifier: Apache-2.0
//
// Work that the stream does not wait for: a few threads execute tasks that the session's thread
// posts in the order of the stream.
//
// A task says what it needs, as keys (object ids), each shared or exclusively: a compilation shares
// its shader modules and has its pipelines for itself, a replay has its command pool for itself.
// It begins when the tasks before it that need a key of its otherwise have ended. So tasks on one
// key happen in the stream's order wherever that order matters, and those that have nothing to do
// with each other at the same time.
//
// No task ever waits inside. What it must come after is counted when it is posted; if it finds out
// later that it needs something else, it returns the key, and is called again when that is there.
// Every task waits for earlier ones only, so there is no circle, and the earliest one that has not
// ended can always run: neither many tasks nor few threads can make a deadlock.
//
// A *blocking* task may stay in the driver until a command that comes later in the stream releases
// it. It gets a thread of its own, so that everything else goes on.
//
// Long tasks may take all threads but one. So however many pipelines a program compiles, there is
// a thread for replays, and thus for other threads' submissions.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

namespace vesper::server {

class TaskPool {
 public:
  using Key = uint64_t;

  struct Need {
    Key key;
    bool exclusive;
  };
  enum class Kind { kReplay, kLong, kBlocking, kOther };

  struct Task {
    Kind kind = Kind::kOther;
    std::vector<Need> needs;
    bool after_replays = false;  ///< begins when all replays posted before it have ended
    size_t bytes = 0;            ///< of memory that it holds until it has ended
    /// The work. Nothing: it is done. A key: to be called again when whoever before it has that key
    /// exclusively has ended.
    std::function<std::optional<Key>()> run;
  };

  /// `threads` may be 0: then nothing may be posted. `max_bytes` of tasks may wait; a task of more
  /// than half of that may if no more than the other half does.
  explicit TaskPool(unsigned threads, size_t max_bytes = size_t{64} << 20);
  /// Drops the tasks that have not begun and waits for those that have.
  ~TaskPool();
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  bool has_threads() const { return !threads_.empty(); }

  // Only one thread, the session's, posts.

  /// The place in the order of tasks that the next one will have, from 1.
  uint64_t next_place() const { return next_place_; }
  /// Waits until there is room for the task's bytes.
  void Post(Task task);
  /// True if a task with these needs would have to wait.
  bool WouldWait(std::span<const Need> needs, bool after_replays);
  /// Waits until a task with this need could run at once.
  void Wait(Key key, bool exclusive);
  /// Waits for all tasks. Any thread.
  void WaitForAll();
  /// True if every task has ended: then what they did is there to see. Any thread.
  bool IsIdle() const { return unfinished_.load(std::memory_order_acquire) == 0; }

 private:
  struct Node {
    uint64_t place = 0;
    Task task;
    size_t waits_for = 0;                       // tasks before it
    std::vector<std::shared_ptr<Node>> behind;  // tasks that wait for it
  };
  using NodePtr = std::shared_ptr<Node>;
  /// The tasks with one key that have not ended, by place.
  struct Users {
    std::map<uint64_t, NodePtr> exclusive;
    std::map<uint64_t, NodePtr> shared;
  };

  void Run();
  void RunBlocking();
  // With the lock held:
  NodePtr TakeReady();
  /// Executes a task; the lock is let go meanwhile.
  void Execute(const NodePtr& node, std::unique_lock<std::mutex>& lock);
  void Ready(NodePtr node);
  void Finish(const NodePtr& node);
  /// The last task on the key that a task with this need at `place` must come after; null for none.
  NodePtr LastBefore(Key key, bool exclusive, uint64_t place) const;
  void PutBehind(const NodePtr& node, const NodePtr& before);
  bool IsBlocked(Key key, bool exclusive) const;

  const size_t max_bytes_;
  size_t max_long_ = 0;
  uint64_t next_place_ = 1;
  std::atomic<size_t> unfinished_{0};

  std::mutex mutex_;
  std::condition_variable work_;  // for the threads
  std::condition_variable blocking_work_;
  std::condition_variable ended_;  // for those who wait for tasks
  bool stopping_ = false;
  size_t bytes_ = 0;
  size_t long_running_ = 0;
  std::map<uint64_t, NodePtr> ready_;  // by place
  std::map<uint64_t, NodePtr> ready_long_;
  std::map<uint64_t, NodePtr> ready_blocking_;
  size_t idle_blocking_ = 0;             // threads
  std::map<uint64_t, NodePtr> replays_;  // that have not ended
  std::unordered_map<Key, Users> users_;
  std::vector<std::thread> blocking_threads_;
  std::vector<std::thread> threads_;  // keep last
};

}  // namespace vesper::server
