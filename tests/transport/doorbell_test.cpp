// SPDX-License-Identifier: Apache-2.0
// The doorbell's own functions, run on a model of a machine in every order that there is.
//
// The model: processors put their stores into a buffer of their own, first in, first out, and read
// what lies there before they read memory; a buffered store reaches memory at any later time. An
// atomic exchange waits until the buffer is empty. That is what x86 does, and the reason why the
// protocol needs fences; the kernel is weaker than real ones, for entering it empties no buffer.
//
// A thread of the model is a function of what its operations returned. To find out what it does
// next it is run from the beginning, with the results that are known; the first operation without
// one leaves it by an exception. So states are plain values, and all of them can be visited.
#include "transport/doorbell.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <functional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace vesper::transport {
namespace {

enum class Operation { kLoad, kStore, kIncrement, kExchange, kSleep, kWakeAll };

struct Request {
  Operation operation;
  int word;
  uint32_t value;
};

// Gives operations the results that they had; throws the first that had none yet.
class Replay {
 public:
  explicit Replay(const std::vector<uint32_t>& results) : results_(results) { current = this; }
  ~Replay() { current = nullptr; }

  static uint32_t Do(const Request& request) {
    if (current->next_ == current->results_.size()) {
      throw Request(request);
    }
    return current->results_[current->next_++];
  }

 private:
  static inline Replay* current = nullptr;
  const std::vector<uint32_t>& results_;
  size_t next_ = 0;
};

struct Word {
  int index;
};

uint32_t Load(const Word& word) { return Replay::Do({Operation::kLoad, word.index, 0}); }
void Store(const Word& word, uint32_t value) { Replay::Do({Operation::kStore, word.index, value}); }

// The machine that the doorbell is compiled for; without a fence an exchange is a load and a store.
template <bool kFenceInRing, bool kFenceInWait>
struct ModelMachine {
  using Word = transport::Word;
  using Deadline = std::optional<int>;

  static uint32_t Load(const Word& word) { return transport::Load(word); }
  static void Increment(Word& word) {
    if (kFenceInRing) {
      Replay::Do({Operation::kIncrement, word.index, 0});
    } else {
      Store(word, Load(word) + 1);
    }
  }
  static uint32_t Exchange(Word& word, uint32_t value) {
    if (kFenceInWait || value == 0) {
      return Replay::Do({Operation::kExchange, word.index, value});
    }
    const uint32_t before = Load(word);
    Store(word, value);
    return before;
  }
  static bool Sleep(const Word& word, uint32_t value, const Deadline&) {
    Replay::Do({Operation::kSleep, word.index, value});
    return true;
  }
  static void WakeAll(Word& word) { Replay::Do({Operation::kWakeAll, word.index, 0}); }
};

using Program = std::function<void()>;

constexpr int kCount = 0;
constexpr int kAsleep = 1;
constexpr int kFirstFree = 2;

class Model {
 public:
  explicit Model(std::vector<Program> programs) : programs_(std::move(programs)) {
    State state;
    state.threads.resize(programs_.size());
    Visit(state);
  }

  size_t states() const { return seen_.size(); }
  // Ways in which all is over.
  size_t ends() const { return ends_; }
  // Those of them in which somebody sleeps for ever.
  size_t lost() const { return lost_; }

 private:
  struct Thread {
    std::vector<uint32_t> results;
    std::deque<std::pair<int, uint32_t>> buffer;
    int asleep_on = -1;
    friend bool operator<(const Thread& a, const Thread& b) {
      return std::tie(a.results, a.buffer, a.asleep_on) <
             std::tie(b.results, b.buffer, b.asleep_on);
    }
  };
  struct State {
    std::array<uint32_t, 6> memory{};
    std::vector<Thread> threads;
    friend bool operator<(const State& a, const State& b) {
      return std::tie(a.memory, a.threads) < std::tie(b.memory, b.threads);
    }
  };

  void Visit(const State& state) {
    if (!seen_.insert(state).second) {
      return;
    }
    bool is_over = true;
    bool sleeps = false;
    for (size_t i = 0; i < state.threads.size(); ++i) {
      const Thread& thread = state.threads[i];
      if (!thread.buffer.empty()) {
        State next = state;
        const auto [word, value] = next.threads[i].buffer.front();
        next.threads[i].buffer.pop_front();
        next.memory[static_cast<size_t>(word)] = value;
        is_over = false;
        Visit(next);
      }
      sleeps = sleeps || thread.asleep_on >= 0;
      const std::optional<Request> request =
          thread.asleep_on >= 0 ? std::nullopt : NextOf(i, thread);
      if (request && (thread.buffer.empty() || !IsExchange(*request))) {
        State next = state;
        Perform(next, i, *request);
        is_over = false;
        Visit(next);
      }
    }
    ends_ += is_over ? 1 : 0;
    lost_ += is_over && sleeps ? 1 : 0;
  }

  static bool IsExchange(const Request& request) {
    return request.operation == Operation::kIncrement || request.operation == Operation::kExchange;
  }

  std::optional<Request> NextOf(size_t i, const Thread& thread) const {
    const Replay replay(thread.results);
    try {
      programs_[i]();
    } catch (const Request& request) {
      return request;
    }
    return std::nullopt;
  }

  static void Perform(State& state, size_t i, const Request& request) {
    Thread& thread = state.threads[i];
    uint32_t& word = state.memory[static_cast<size_t>(request.word)];
    uint32_t result = 0;
    switch (request.operation) {
      case Operation::kLoad:
        result = word;
        for (const auto& [place, value] : thread.buffer) {
          result = place == request.word ? value : result;
        }
        break;
      case Operation::kStore:
        thread.buffer.emplace_back(request.word, request.value);
        break;
      case Operation::kIncrement:
        ++word;
        break;
      case Operation::kExchange:
        result = std::exchange(word, request.value);
        break;
      case Operation::kSleep:
        thread.asleep_on = word == request.value ? request.word : -1;
        break;
      case Operation::kWakeAll:
        for (Thread& other : state.threads) {
          other.asleep_on = other.asleep_on == request.word ? -1 : other.asleep_on;
        }
        break;
    }
    thread.results.push_back(result);
  }

  const std::vector<Program> programs_;
  std::set<State> seen_;
  size_t ends_ = 0;
  size_t lost_ = 0;
};

Word count{kCount};
Word asleep{kAsleep};

// Brings the word to each of the values up to `last`, and rings after each.
template <typename Machine>
Program Bringing(int word, uint32_t last = 1) {
  return [=] {
    for (uint32_t value = 1; value <= last; ++value) {
      Store({word}, value);
      BasicDoorbell<Machine>(count, asleep).Ring();
    }
  };
}

template <typename Machine>
Program WaitingFor(std::vector<std::pair<int, uint32_t>> values) {
  return [values] {
    for (const auto& wanted : values) {
      BasicDoorbell<Machine>(count, asleep).WaitUntil([&] {
        return Load({wanted.first}) >= wanted.second;
      });
    }
  };
}

using Fenced = ModelMachine<true, true>;

TEST(Doorbell, NobodySleepsForEver) {
  const Model model({Bringing<Fenced>(kFirstFree), WaitingFor<Fenced>({{kFirstFree, 1}})});
  EXPECT_GT(model.ends(), 1u);
  EXPECT_GT(model.states(), 50u);
  EXPECT_EQ(model.lost(), 0u);
}

TEST(Doorbell, NorWithTwoWhoWait) {
  const Model model({Bringing<Fenced>(kFirstFree), WaitingFor<Fenced>({{kFirstFree, 1}}),
                     WaitingFor<Fenced>({{kFirstFree, 1}})});
  EXPECT_GT(model.states(), 500u);
  EXPECT_EQ(model.lost(), 0u);
}

TEST(Doorbell, NorWithTwoWhoRing) {
  const Model model({Bringing<Fenced>(kFirstFree), Bringing<Fenced>(kFirstFree + 1),
                     WaitingFor<Fenced>({{kFirstFree, 1}, {kFirstFree + 1, 1}})});
  EXPECT_GT(model.states(), 1000u);
  EXPECT_EQ(model.lost(), 0u);
}

TEST(Doorbell, NorWhenItRingsAgain) {
  const Model model(
      {Bringing<Fenced>(kFirstFree, 2), WaitingFor<Fenced>({{kFirstFree, 1}, {kFirstFree, 2}})});
  EXPECT_GT(model.states(), 100u);
  EXPECT_EQ(model.lost(), 0u);
}

// The proofs that the model can see what it is for.
TEST(Doorbell, WithoutTheFenceOfWhoRingsAWakeUpIsLost) {
  using Weak = ModelMachine<false, true>;
  const Model model({Bringing<Weak>(kFirstFree), WaitingFor<Weak>({{kFirstFree, 1}})});
  EXPECT_GT(model.lost(), 0u);
}

TEST(Doorbell, WithoutTheFenceOfWhoWaitsAWakeUpIsLost) {
  using Weak = ModelMachine<true, false>;
  const Model model({Bringing<Weak>(kFirstFree), WaitingFor<Weak>({{kFirstFree, 1}})});
  EXPECT_GT(model.lost(), 0u);
}

// Once the flag is down, who has raised it before must not fall asleep any more.
template <typename Machine>
Program BringingWithOneCount(int word, uint32_t last) {
  return [=] {
    for (uint32_t value = 1; value <= last; ++value) {
      Store({word}, value);
      Machine::Increment(count);
      if (Machine::Load(asleep) != 0 && Machine::Exchange(asleep, 0) != 0) {
        Machine::WakeAll(count);
      }
    }
  };
}

TEST(Doorbell, WithoutTheSecondCountAWakeUpIsLost) {
  const Model model({BringingWithOneCount<Fenced>(kFirstFree, 2),
                     WaitingFor<Fenced>({{kFirstFree, 1}, {kFirstFree, 2}})});
  EXPECT_GT(model.lost(), 0u);
}

TEST(Doorbell, RealThreadsPassANumberToAndFro) {
  struct Bell {
    std::atomic<uint32_t> count{0};
    std::atomic<uint32_t> asleep{0};
  } bells[2];
  std::atomic<uint32_t> number{0};
  const auto play = [&](uint32_t own) {
    Doorbell mine(bells[own].count, bells[own].asleep);
    Doorbell theirs(bells[1 - own].count, bells[1 - own].asleep);
    for (uint32_t turn = own; turn < 20'000; turn += 2) {
      mine.WaitUntil([&] { return number.load() == turn; });
      number.store(turn + 1);
      theirs.Ring();
    }
  };
  std::thread other([&] { play(1); });
  play(0);
  other.join();
  EXPECT_EQ(number.load(), 20'000u);
}

TEST(Doorbell, SleepingHasALimit) {
  std::atomic<uint32_t> words[2] = {};
  Doorbell bell(words[0], words[1]);
  const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
  while (bell.SleepSince(bell.Count(), soon)) {
  }
  EXPECT_GE(std::chrono::steady_clock::now(), soon);
}

TEST(Doorbell, WhoeverRingsTakesTheFlagDown) {
  std::atomic<uint32_t> words[2] = {0, 1};
  Doorbell(words[0], words[1]).Ring();
  EXPECT_EQ(words[1].load(), 0u) << "the next ring needs no system call";
}

}  // namespace
}  // namespace vesper::transport
