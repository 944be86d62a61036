// SPDX-License-Identifier: Apache-2.0
#include "client_icd/write_tracker.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "transport/shared_file.h"
#include "transport/unique_fd.h"

namespace vesper::client {
namespace {

constexpr size_t kTrialPages = 64;

/// Shared memory mapped twice, as a shadow has it.
class TrialPages {
 public:
  TrialPages() : file_(::memfd_create("vesper-trial", MFD_CLOEXEC)) {
    if (file_ && transport::MayHaveFileOf(bytes()) &&
        ::ftruncate(file_.get(), static_cast<off_t>(bytes())) == 0) {
      program_ = Map();
      driver_ = Map();
    }
  }
  ~TrialPages() {
    for (std::byte* view : {program_, driver_}) {
      if (view != nullptr) {
        ::munmap(view, bytes());
      }
    }
  }

  bool AreThere() const { return program_ != nullptr && driver_ != nullptr; }
  static size_t bytes() { return kTrialPages * PageSize(); }
  PageRange range() const { return {program_, program_ + bytes()}; }
  void Write(size_t page) const { Change(program_, page); }
  void Push(size_t page) const { Change(driver_, page); }
  bool WriteBySystemCall(size_t page) const {
    const transport::UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
    return zero && ::read(zero.get(), program_ + page * PageSize(), 1) == 1;
  }

 private:
  std::byte* Map() const {
    void* view = ::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    return view == MAP_FAILED ? nullptr : static_cast<std::byte*>(view);
  }
  static void Change(std::byte* view, size_t page) {
    auto* byte = reinterpret_cast<volatile uint8_t*>(view + page * PageSize());
    *byte = static_cast<uint8_t>(*byte + 1);
  }

  transport::UniqueFd file_;
  std::byte* program_ = nullptr;
  std::byte* driver_ = nullptr;
};

/// True if `written` holds each of `pages` and, of the others, only neighbours within `grain`
/// pages.
bool Holds(const TrialPages& memory, const std::vector<PageRange>& written,
           const std::vector<size_t>& pages, size_t grain) {
  std::vector<bool> told(kTrialPages, false);
  for (const PageRange& range : written) {
    for (std::byte* page = range.begin; page < range.end; page += PageSize()) {
      if (page < memory.range().begin || page >= memory.range().end) {
        return false;
      }
      told[static_cast<size_t>(page - memory.range().begin) / PageSize()] = true;
    }
  }
  for (size_t page = 0; page < kTrialPages; ++page) {
    const bool near =
        std::ranges::any_of(pages, [&](size_t wanted) { return wanted / grain == page / grain; });
    const bool wanted = std::ranges::find(pages, page) != pages.end();
    if ((wanted && !told[page]) || (told[page] && !near)) {
      return false;
    }
  }
  return true;
}

/// Stores by the program, by the kernel on its behalf, and by the driver through its own view; a
/// page that was never touched; two rounds, and one in which nothing happens.
bool PassesTrial(WriteTracker& tracker, size_t grain, bool system_calls, std::string* why) {
  const TrialPages memory;
  if (!memory.AreThere()) {
    *why = "expected shared memory for a trial, got none";
    return false;
  }
  for (size_t page = 0; page + 16 < kTrialPages; ++page) {
    memory.Write(page);
  }
  if (!tracker.Watch(memory.range())) {
    *why = "the kernel does not let this process track writes to shared memory";
    return false;
  }
  const std::vector<std::vector<size_t>> rounds = {{3, 17, 60}, {}, {5, 40}};
  std::vector<PageRange> written;
  bool right = tracker.Take(memory.range(), written);
  for (size_t round = 0; right && round < rounds.size(); ++round) {
    for (const size_t page : rounds[round]) {
      memory.Write(page);
    }
    std::vector<size_t> expected = rounds[round];
    if (round == 2 && system_calls) {
      right = memory.WriteBySystemCall(22);
      expected.push_back(22);
    }
    memory.Push(30);
    written.clear();
    right =
        right && tracker.Take(memory.range(), written) && Holds(memory, written, expected, grain);
  }
  tracker.Unwatch(memory.range());
  if (!right) {
    *why = "the kernel reports other pages than were written; this version has a bug";
  }
  return right;
}

}  // namespace

size_t PageSize() {
  static const size_t size = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

const char* TierName(MemoryTier tier) {
  switch (tier) {
    case MemoryTier::kAsync:
      return "async";
    case MemoryTier::kCompare:
      return "compare";
    case MemoryTier::kFault:
      return "fault";
    case MemoryTier::kSignal:
      return "signal";
    case MemoryTier::kReference:
      return "reference";
  }
  return "";
}

bool TierFromName(std::string_view name, MemoryTier* tier) {
  for (const MemoryTier known : {MemoryTier::kAsync, MemoryTier::kCompare, MemoryTier::kFault,
                                 MemoryTier::kSignal, MemoryTier::kReference}) {
    if (name == TierName(known)) {
      *tier = known;
      return true;
    }
  }
  return false;
}

std::unique_ptr<WriteTracker> MakeWriteTracker(MemoryTier tier, std::string* why,
                                               transport::UniqueFd faults) {
  why->clear();
  std::unique_ptr<WriteTracker> tracker;
  size_t grain = 1;
  switch (tier) {
    case MemoryTier::kAsync:
      tracker = MakeAsyncTracker(std::move(faults), why);
      break;
    case MemoryTier::kFault:
      tracker = MakeFaultTracker(why);
      grain = 16;
      break;
    case MemoryTier::kSignal:
      tracker = MakeSignalTracker(why);
      grain = 16;
      break;
    case MemoryTier::kCompare:
    case MemoryTier::kReference:
      return nullptr;
  }
  if (tracker != nullptr && !PassesTrial(*tracker, grain, tier != MemoryTier::kSignal, why)) {
    tracker.reset();
  }
  return tracker;
}

}  // namespace vesper::client
