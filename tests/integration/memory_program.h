// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_INTEGRATION_MEMORY_PROGRAM_H_
#define VESPER_TESTS_INTEGRATION_MEMORY_PROGRAM_H_

#include <array>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "tests/integration/gpu_work.h"

namespace vesper::tests {

// What the programs on one queue share.
struct QueueLocks {
  std::mutex submit;  // Vulkan wants one thread at a time.
  // Held shared while work is held back, and exclusively to submit what waits for a binary
  // semaphore: some drivers, lavapipe among them, first let all earlier work begin there, and block
  // the caller; who blocks in a queue's commands can't let anything go.
  std::shared_mutex gates;
};

// One thread of a random program. It owns plots of allocations that it shares with other threads:
// it writes them, has the GPU write them, and looks after each call that tells of the GPU's end
// whether they hold what they must. All its choices come from its seed.
class MemoryProgram {
 public:
  // `locks` belong to the queue, which all programs submit to.
  MemoryProgram(Gpu& gpu, QueueLocks& locks, std::span<const std::unique_ptr<TestMemory>> memories,
                std::vector<Plot> plots, uint64_t seed);
  ~MemoryProgram();
  MemoryProgram(const MemoryProgram&) = delete;
  MemoryProgram& operator=(const MemoryProgram&) = delete;

  // A few submissions, and what the program sees when they are done. Throws std::runtime_error with
  // one sentence when a byte is wrong.
  void Step();
  // Has the GPU show what it sees of all plots. Throws in the same way.
  void CheckTheGpusView();

 private:
  static constexpr size_t kMaxSubmits = 3;

  enum class Gate { kNone, kEvent, kTimeline };

  void WriteSomewhere();
  void Write(Plot& plot, uint8_t* data);
  void WriteRange(Plot& plot, uint8_t* data, size_t begin, size_t end, size_t step);
  void Remap();
  void SubmitSome(size_t index, bool is_last);
  void Submit(VkCommandBuffer commands, Gate gate, bool is_last);
  void OpenGate(Gate gate, size_t index);
  // Learns by one call, picked at random, that everything submitted is done.
  void Observe();
  void WaitForTimeline(bool by_polling);
  void Recycle();
  void Compare();

  Gpu& gpu_;
  QueueLocks& locks_;
  const std::span<const std::unique_ptr<TestMemory>> memories_;
  std::vector<Plot> plots_;
  Random random_;
  GpuWorkMaker works_;
  Owned<VkCommandPool> pool_;
  Owned<VkFence> fence_;
  Owned<VkSemaphore> done_;  // a timeline
  uint64_t done_value_ = 0;
  Owned<VkSemaphore> gate_;  // a timeline
  uint64_t gate_value_ = 0;
  Owned<VkSemaphore> between_;  // binary: from one submission to the next
  bool is_between_pending_ = false;
  Owned<VkEvent> done_event_;
  std::array<Owned<VkEvent>, kMaxSubmits> gate_events_;
  Buffer witness_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_INTEGRATION_MEMORY_PROGRAM_H_
