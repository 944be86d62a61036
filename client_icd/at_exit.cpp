// SPDX-License-Identifier: Apache-2.0
#include "client_icd/at_exit.h"

#include <unistd.h>

#include <atomic>
#include <exception>
#include <utility>

namespace vesper::client {

/// Entries are used again and never freed, so that the list needs no lock: one that another thread
/// holds while the process forks would be held for ever in the child.
struct AtExit::Entry {
  enum State { kFree, kTaken, kPending, kDone };

  std::atomic<State> state{kTaken};
  pid_t process = 0;
  std::function<void()> work;
  Entry* next = nullptr;

  bool Take(State from, State to) { return state.compare_exchange_strong(from, to); }
  void Work() {
    try {
      work();
    } catch (const std::exception&) {
      // For want of memory; there is nobody to tell.
    }
  }
};

struct AtExit::List {
  std::atomic<Entry*> first{nullptr};

  Entry* Add() {
    for (Entry* entry = first.load(); entry != nullptr; entry = entry->next) {
      if (entry->Take(Entry::kFree, Entry::kTaken)) {
        return entry;
      }
    }
    auto* entry = new Entry;
    entry->next = first.load();
    while (!first.compare_exchange_weak(entry->next, entry)) {
    }
    return entry;
  }

  void RunAll() {
    for (Entry* entry = first.load(); entry != nullptr; entry = entry->next) {
      if (entry->process == ::getpid() && entry->Take(Entry::kPending, Entry::kDone)) {
        entry->Work();
      }
    }
  }
};

AtExit::List& AtExit::Entries() {
  // Destructors of the program may end sessions after those of the driver have run, so the list
  // stays. The library is never unloaded before the end.
  static List& list = *new List;
  static const struct End {
    ~End() { list.RunAll(); }
  } end;
  return list;
}

AtExit::AtExit(std::function<void()> work) : entry_(Entries().Add()) {
  entry_->process = ::getpid();
  entry_->work = std::move(work);
  entry_->state.store(Entry::kPending);
}

AtExit::~AtExit() {
  if (entry_ != nullptr && entry_->Take(Entry::kPending, Entry::kTaken)) {
    entry_->work = nullptr;
    entry_->state.store(Entry::kFree);
  }
}

void AtExit::Run() {
  Entry* entry = std::exchange(entry_, nullptr);
  if (entry != nullptr && entry->process == ::getpid() &&
      entry->Take(Entry::kPending, Entry::kTaken)) {
    entry->Work();
    entry->work = nullptr;
    entry->state.store(Entry::kFree);
  }
}

}  // namespace vesper::client
