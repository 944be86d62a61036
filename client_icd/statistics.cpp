// SPDX-License-Identifier: Apache-2.0
#include "client_icd/statistics.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "client_icd/environment.h"
#include "proto/record.h"
#include "proto/records_gen.h"
#include "transport/shared_file.h"

namespace vesper::client {
namespace {

constexpr std::array<const char*, Statistics::kBytesKinds> kBytesNames = {
    "commands_out", "recordings_out", "memory_out", "wire_out",
    "replies_in",   "pushes_in",      "memory_in",  "wire_in",
};

uint64_t Load(const std::atomic<uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

double Milliseconds(uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e6; }

uint64_t NanosecondsSince(Statistics::Clock::time_point begin) {
  return static_cast<uint64_t>((Statistics::Clock::now() - begin).count());
}

template <typename... Arguments>
void Print(std::string& text, const char* format, Arguments... arguments) {
  char line[256];
  const int length = std::snprintf(line, sizeof(line), format, arguments...);
  text.append(line, static_cast<size_t>(std::clamp<int>(length, 0, sizeof(line) - 1)));
}

/// A JSON string; what it would have to escape in another way is replaced.
std::string Quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    result += static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' ? '?' : c;
  }
  return result + '"';
}

void Append(const std::string& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  struct stat status{};
  const bool may_grow =
      file >= 0 && ::fstat(file, &status) == 0 &&
      transport::MayHaveFileOf(static_cast<uint64_t>(status.st_size) + text.size());
  if (file >= 0 && !may_grow) {
    errno = EFBIG;
  }
  // One write, so that processes which append at the same time don't mix their lines.
  const bool written =
      may_grow && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!written) {
    Say("VESPER_STATS: expected a file that can be appended to, got " + path + " (error " +
        std::to_string(errno) + "); name another, or 1 for stderr");
  }
  if (file >= 0) {
    ::close(file);
  }
}

}  // namespace

Statistics::Statistics() : commands_(new Command[proto::MaxCommandNumber() + 1u]) {}

void Statistics::NoteCall(uint16_t number, Clock::time_point begin) {
  Add(commands_[number].calls, 1);
  Add(commands_[number].nanoseconds, NanosecondsSince(begin));
}

void Statistics::NoteReceived(const proto::Command& command) {
  namespace number = proto::command_number;
  const bool is_reply = (command.flags & proto::kIsReply) != 0;
  if (!is_reply) {
    Add(pushes_, 1);
  }
  const size_t header = proto::kCommandHeaderBytes + (is_reply ? sizeof(command.serial) : 0);
  NoteBytes(is_reply                                     ? kRepliesIn
            : command.number == number::vesperPushMemory ? kMemoryIn
                                                         : kPushesIn,
            command.body.size() + header);
}

void Statistics::NoteWait(bool slept, Clock::time_point begin) {
  Add(waits_, 1);
  if (slept) {
    Add(sleeps_, 1);
    Add(slept_nanoseconds_, NanosecondsSince(begin));
  }
}

uint64_t Statistics::RoundTrips() const {
  uint64_t count = 1 + Load(commands_[proto::command_number::vesperFetchMemory].posts);
  for (uint16_t number = 1; number <= proto::MaxCommandNumber(); ++number) {
    count += Load(commands_[number].calls);
  }
  return count;
}

std::string Statistics::Table(const std::string& title) const {
  std::vector<uint16_t> used;
  uint64_t posts = 0;
  uint64_t answers = 0;
  for (uint16_t number = 1; number <= proto::MaxCommandNumber(); ++number) {
    const Command& command = commands_[number];
    posts += Load(command.posts);
    answers += Load(command.answers);
    if (Load(command.calls) + Load(command.posts) + Load(command.answers) != 0) {
      used.push_back(number);
    }
  }
  // What was waited for first, and the longest waits before the others.
  std::ranges::stable_sort(used, [this](uint16_t a, uint16_t b) {
    const auto rank = [this](uint16_t number) {
      return std::make_tuple(Load(commands_[number].nanoseconds), Load(commands_[number].answers),
                             Load(commands_[number].posts));
    };
    return rank(a) > rank(b);
  });

  std::string text;
  Print(text, "vesper: %s, %.3f s\n", title.c_str(),
        static_cast<double>(NanosecondsSince(begin_)) / 1e9);
  Print(text, "  %llu round trips, %llu answered by the cache, %llu posted, %llu recordings\n",
        static_cast<unsigned long long>(RoundTrips()), static_cast<unsigned long long>(answers),
        static_cast<unsigned long long>(posts), static_cast<unsigned long long>(Load(recordings_)));
  Print(text, "  %llu waits, %llu of them slept, %.3f ms in all; %llu pushes\n",
        static_cast<unsigned long long>(Load(waits_)),
        static_cast<unsigned long long>(Load(sleeps_)), Milliseconds(Load(slept_nanoseconds_)),
        static_cast<unsigned long long>(Load(pushes_)));
  Print(text, "  %10s %10s %10s %10s  command\n", "calls", "ms", "answered", "posted");
  for (const uint16_t number : used) {
    const Command& command = commands_[number];
    Print(text, "  %10llu %10.3f %10llu %10llu  %s\n",
          static_cast<unsigned long long>(Load(command.calls)),
          Milliseconds(Load(command.nanoseconds)),
          static_cast<unsigned long long>(Load(command.answers)),
          static_cast<unsigned long long>(Load(command.posts)), proto::CommandRecord(number)->name);
  }
  for (const auto& [direction, first] : {std::pair("out", kCommandsOut), {"in", kRepliesIn}}) {
    Print(text, "  bytes %s:", direction);
    for (size_t kind = first; kind < first + kBytesKinds / 2u; ++kind) {
      const std::string_view name = kBytesNames[kind];
      Print(text, " %.*s %llu%s", static_cast<int>(name.rfind('_')), name.data(),
            static_cast<unsigned long long>(Load(bytes_[kind])),
            kind + 1 < first + kBytesKinds / 2u ? "," : "\n");
    }
  }
  return text;
}

std::string Statistics::Json(const std::string& program, uint64_t pid) const {
  std::string text = "{\"program\": " + Quoted(program);
  const auto number = [&text](const char* name, uint64_t value) {
    Print(text, ", \"%s\": %llu", name, static_cast<unsigned long long>(value));
  };
  number("pid", pid);
  Print(text, ", \"seconds\": %.6f", static_cast<double>(NanosecondsSince(begin_)) / 1e9);
  number("round_trips", RoundTrips());
  const auto table = [&](const char* name, std::atomic<uint64_t> Command::* column) {
    Print(text, ", \"%s\": {", name);
    const char* separator = "";
    for (uint16_t i = 1; i <= proto::MaxCommandNumber(); ++i) {
      if (const uint64_t value = Load(commands_[i].*column)) {
        Print(text, "%s\"%s\": %llu", separator, proto::CommandRecord(i)->name,
              static_cast<unsigned long long>(value));
        separator = ", ";
      }
    }
    text += '}';
  };
  table("calls", &Command::calls);
  table("call_nanoseconds", &Command::nanoseconds);
  table("answered", &Command::answers);
  table("posts", &Command::posts);
  number("recordings", Load(recordings_));
  number("pushes", Load(pushes_));
  number("waits", Load(waits_));
  number("sleeps", Load(sleeps_));
  number("slept_nanoseconds", Load(slept_nanoseconds_));
  text += ", \"bytes\": {";
  for (size_t kind = 0; kind < kBytesKinds; ++kind) {
    Print(text, "%s\"%s\": %llu", kind == 0 ? "" : ", ", kBytesNames[kind],
          static_cast<unsigned long long>(Load(bytes_[kind])));
  }
  return text + "}}\n";
}

void Tell(const Statistics& statistics, const std::string& where) {
  const std::string program = program_invocation_short_name;
  const auto pid = static_cast<uint64_t>(::getpid());
  if (where.ends_with(".json")) {
    Append(where, statistics.Json(program, pid));
    return;
  }
  const std::string table =
      statistics.Table("a session of " + program + ", process " + std::to_string(pid));
  if (where == "1") {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, table.data(), table.size());
  } else {
    Append(where, table);
  }
}

}  // namespace vesper::client
