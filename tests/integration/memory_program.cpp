// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/memory_program.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kWitnessSize = 1 << 20;

std::runtime_error WrongByte(const Plot& plot, size_t at, uint8_t found, const char* whose) {
  return std::runtime_error(
      "byte " + std::to_string(plot.begin + at) + " of the allocation of kind " +
      std::to_string(static_cast<int>(plot.memory->kind())) + " (byte " + std::to_string(at) +
      " of a plot of " + std::to_string(plot.bytes.size()) + ") is " + std::to_string(found) +
      " in " + whose + " view and should be " + std::to_string(plot.bytes[at]));
}

void ExpectBytes(const Plot& plot, size_t begin, size_t size, const uint8_t* found,
                 const char* whose) {
  if (std::memcmp(plot.bytes.data() + begin, found, size) == 0) {
    return;
  }
  for (size_t i = 0; i < size; ++i) {
    if (plot.bytes[begin + i] != found[i]) {
      throw WrongByte(plot, begin + i, found[i], whose);
    }
  }
  throw std::runtime_error(
      "Bytes that differed a moment ago are as they should be now: somebody "
      "wrote them while they were compared.");
}

}  // namespace

MemoryProgram::MemoryProgram(Gpu& gpu, QueueLocks& locks,
                             std::span<const std::unique_ptr<TestMemory>> memories,
                             std::vector<Plot> plots, uint64_t seed)
    : gpu_(gpu),
      locks_(locks),
      memories_(memories),
      plots_(std::move(plots)),
      random_(seed),
      works_(gpu, memories) {
  VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  pool.queueFamilyIndex = gpu.queue_family;
  pool_ = gpu.Make(gpu.vk.CreateCommandPool, gpu.vk.DestroyCommandPool, pool);
  fence_ = gpu.MakeFence();
  done_ = gpu.MakeTimeline();
  gate_ = gpu.MakeTimeline();
  between_ = gpu.MakeSemaphore();
  done_event_ = gpu.MakeEvent();
  for (Owned<VkEvent>& event : gate_events_) {
    event = gpu.MakeEvent();
  }
  witness_ = MakeHostBuffer(gpu, kWitnessSize);
}

MemoryProgram::~MemoryProgram() = default;

void MemoryProgram::Step() {
  const size_t submits = random_.Between(1, kMaxSubmits);
  for (size_t i = 0; i < submits; ++i) {
    WriteSomewhere();
    if (random_.OneIn(4)) {
      Remap();
    }
    SubmitSome(i, i + 1 == submits);
  }
  WriteSomewhere();  // Beside the work in flight.
  Observe();
  for (Plot& plot : plots_) {
    plot.busy.clear();
  }
  Compare();
  Recycle();
}

// -- what the program does ------------------------------------------------------------------------

void MemoryProgram::WriteSomewhere() {
  for (uint64_t i = random_.OneIn(10) ? plots_.size() / 2 : random_.Between(0, 12); i > 0; --i) {
    Plot& plot = plots_[random_.Below(plots_.size())];
    const std::shared_lock lock(plot.memory->mutex);
    uint8_t* data = plot.memory->Address(plot.begin, plot.bytes.size());
    if (data == nullptr) {
      continue;
    }
    Write(plot, data);
    // Memory that is coherent needs no flush, and must not mind one.
    if (!plot.memory->coherent() || random_.OneIn(20)) {
      plot.memory->Flush(plot.begin, plot.bytes.size());
    }
  }
}

void MemoryProgram::WriteRange(Plot& plot, uint8_t* data, size_t begin, size_t end, size_t step) {
  const bool is_free = !plot.IsAnyBusy(begin, end - begin);
  if (!is_free && end - begin > 10'000) {
    return;
  }
  const uint64_t mode = random_.Below(5);
  uint64_t noise = random_.Next();
  for (size_t i = begin; i < end; i += step) {
    if (!is_free && plot.IsBusy(i)) {
      continue;
    }
    noise = noise * 6364136223846793005u + 1442695040888963407u;
    switch (mode) {
      case 0:  // zeros
        data[i] = plot.bytes[i] = 0;
        break;
      case 1:  // what is there already
        data[i] = plot.bytes[i];
        break;
      case 2:  // one step on, in one go with the reading
        plot.bytes[i] = static_cast<uint8_t>(plot.bytes[i] + 1);
        std::atomic_ref<uint8_t>(data[i]).fetch_add(1);
        break;
      default:
        data[i] = plot.bytes[i] = static_cast<uint8_t>(noise >> 56);
        break;
    }
  }
}

void MemoryProgram::Write(Plot& plot, uint8_t* data) {
  const size_t size = plot.bytes.size();
  const size_t begin = random_.Below(size);
  switch (random_.Below(4)) {
    case 0:
      WriteRange(plot, data, begin, begin + 1, 1);
      break;
    case 1:
      WriteRange(plot, data, begin, std::min(size, begin + random_.Between(1, 60)), 1);
      break;
    case 2:
      WriteRange(plot, data, begin, std::min(size, begin + random_.Between(1, 9000)),
                 random_.Between(1, 130));
      break;
    default:
      if (size > 100'000 && !random_.OneIn(3)) {
        WriteRange(plot, data, begin, std::min(size, begin + 50'000), 1);
      } else if (!plot.IsAnyBusy(0, size)) {
        // All of it, with the C library's widest stores; or with zeros, which are cheap to send.
        const uint64_t first = random_.Next();
        const uint64_t factor = random_.OneIn(3) ? 0 : 0x9E3779B97F4A7C15u;
        for (size_t i = 0; i < size; ++i) {
          plot.bytes[i] = static_cast<uint8_t>((first + i) * factor >> 40);
        }
        std::memcpy(data, plot.bytes.data(), size);
      }
      break;
  }
}

void MemoryProgram::Remap() {
  TestMemory& memory = *memories_[random_.Below(memories_.size())];
  if (!memory.mappable()) {
    return;
  }
  const std::unique_lock lock(memory.mutex);
  if (memory.mapped() && random_.OneIn(3)) {
    memory.Unmap(random_);
    if (random_.OneIn(2)) {
      memory.Map(random_);
    }
  } else if (!memory.mapped()) {
    memory.Map(random_);
  }
}

// -- what the GPU does ----------------------------------------------------------------------------

void MemoryProgram::SubmitSome(size_t index, bool is_last) {
  std::vector<GpuWork> works;
  for (uint64_t count = random_.Between(1, 6); count > 0; --count) {
    if (std::optional<GpuWork> work = works_.Make(plots_, random_)) {
      works.push_back(std::move(*work));
    }
  }
  const uint64_t chance = random_.Below(10);
  const Gate gate = is_between_pending_ ? Gate::kNone
                    : chance == 0       ? Gate::kEvent
                    : chance == 1       ? Gate::kTimeline
                                        : Gate::kNone;
  VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  info.commandPool = pool_;
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  VESPER_CHECK(gpu_.vk.AllocateCommandBuffers(gpu_.device, &info, &commands));
  gpu_.RecordInto(commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, [&](VkCommandBuffer) {
    if (gate == Gate::kEvent) {
      VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
      barrier.srcAccessMask = VK_ACCESS_HOST_WRITE_BIT;
      barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
      gpu_.vk.CmdWaitEvents(commands, 1, gate_events_[index].address(), VK_PIPELINE_STAGE_HOST_BIT,
                            VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 1, &barrier, 0, nullptr, 0,
                            nullptr);
    }
    gpu_.FullBarrier(commands);
    for (const GpuWork& work : works) {
      work.record(commands);
      gpu_.FullBarrier(commands);
    }
    if (is_last) {
      gpu_.vk.CmdSetEvent(commands, done_event_, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
    }
  });
  std::shared_lock gate_lock(locks_.gates, std::defer_lock);
  std::unique_lock free_lock(locks_.gates, std::defer_lock);
  if (gate != Gate::kNone) {
    gate_lock.lock();
  } else if (is_between_pending_) {
    free_lock.lock();
  }
  Submit(commands, gate, is_last);
  if (free_lock.owns_lock()) {
    free_lock.unlock();
  }
  if (gate != Gate::kNone) {
    // The GPU has not begun: the program may still write what this work will read, or overwrite.
    WriteSomewhere();
  }
  for (const GpuWork& work : works) {
    work.model();
  }
  OpenGate(gate, index);
}

void MemoryProgram::Submit(VkCommandBuffer commands, Gate gate, bool is_last) {
  std::vector<VkSemaphoreSubmitInfo> waits;
  std::vector<VkSemaphoreSubmitInfo> signals;
  const auto add = [](std::vector<VkSemaphoreSubmitInfo>& list, VkSemaphore semaphore,
                      uint64_t value) {
    VkSemaphoreSubmitInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO};
    info.semaphore = semaphore;
    info.value = value;
    info.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
    list.push_back(info);
  };
  if (gate == Gate::kTimeline) {
    add(waits, gate_, ++gate_value_);
  }
  if (is_between_pending_) {
    add(waits, between_, 0);
  }
  is_between_pending_ = !is_last && random_.OneIn(3);
  if (is_between_pending_) {
    add(signals, between_, 0);
  }
  if (is_last) {
    add(signals, done_, ++done_value_);
  }
  const VkFence fence = is_last ? fence_.get() : VK_NULL_HANDLE;
  const bool new_submit = random_.OneIn(2);
  const std::lock_guard lock(locks_.submit);
  if (new_submit) {
    VkCommandBufferSubmitInfo buffer{VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO};
    buffer.commandBuffer = commands;
    VkSubmitInfo2 submit{VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
    submit.waitSemaphoreInfoCount = static_cast<uint32_t>(waits.size());
    submit.pWaitSemaphoreInfos = waits.data();
    submit.commandBufferInfoCount = 1;
    submit.pCommandBufferInfos = &buffer;
    submit.signalSemaphoreInfoCount = static_cast<uint32_t>(signals.size());
    submit.pSignalSemaphoreInfos = signals.data();
    VESPER_CHECK(gpu_.vk.QueueSubmit2(gpu_.queue, 1, &submit, fence));
    return;
  }
  std::vector<VkSemaphore> semaphores[2];
  std::vector<uint64_t> values[2];
  for (int i = 0; i < 2; ++i) {
    for (const VkSemaphoreSubmitInfo& info : i == 0 ? waits : signals) {
      semaphores[i].push_back(info.semaphore);
      values[i].push_back(info.value);
    }
  }
  const std::vector<VkPipelineStageFlags> stages(waits.size(), VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  VkTimelineSemaphoreSubmitInfo timeline{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  timeline.waitSemaphoreValueCount = static_cast<uint32_t>(values[0].size());
  timeline.pWaitSemaphoreValues = values[0].data();
  timeline.signalSemaphoreValueCount = static_cast<uint32_t>(values[1].size());
  timeline.pSignalSemaphoreValues = values[1].data();
  VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.pNext = &timeline;
  submit.waitSemaphoreCount = static_cast<uint32_t>(semaphores[0].size());
  submit.pWaitSemaphores = semaphores[0].data();
  submit.pWaitDstStageMask = stages.data();
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  submit.signalSemaphoreCount = static_cast<uint32_t>(semaphores[1].size());
  submit.pSignalSemaphores = semaphores[1].data();
  VESPER_CHECK(gpu_.vk.QueueSubmit(gpu_.queue, 1, &submit, fence));
}

void MemoryProgram::OpenGate(Gate gate, size_t index) {
  if (gate == Gate::kEvent) {
    VESPER_CHECK(gpu_.vk.SetEvent(gpu_.device, gate_events_[index]));
  } else if (gate == Gate::kTimeline) {
    VkSemaphoreSignalInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
    signal.semaphore = gate_;
    signal.value = gate_value_;
    VESPER_CHECK(gpu_.vk.SignalSemaphore(gpu_.device, &signal));
  }
}

// -- what the program sees ------------------------------------------------------------------------

void MemoryProgram::Observe() {
  switch (random_.Below(7)) {
    case 0:
      gpu_.Wait(fence_);
      break;
    case 1:
      while (gpu_.vk.GetFenceStatus(gpu_.device, fence_) == VK_NOT_READY) {
        std::this_thread::yield();
      }
      break;
    case 2: {
      const std::lock_guard lock(locks_.submit);
      VESPER_CHECK(gpu_.vk.QueueWaitIdle(gpu_.queue));
      break;
    }
    case 3: {
      const std::lock_guard lock(locks_.submit);
      VESPER_CHECK(gpu_.vk.DeviceWaitIdle(gpu_.device));
      break;
    }
    case 4:
      WaitForTimeline(/*by_polling=*/false);
      break;
    case 5:
      WaitForTimeline(/*by_polling=*/true);
      break;
    default:
      while (gpu_.vk.GetEventStatus(gpu_.device, done_event_) == VK_EVENT_RESET) {
        std::this_thread::yield();
      }
      break;
  }
}

void MemoryProgram::WaitForTimeline(bool by_polling) {
  if (by_polling) {
    uint64_t value = 0;
    while (value < done_value_) {
      VESPER_CHECK(gpu_.vk.GetSemaphoreCounterValue(gpu_.device, done_, &value));
      std::this_thread::yield();
    }
    return;
  }
  VkSemaphoreWaitInfo wait{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
  wait.semaphoreCount = 1;
  wait.pSemaphores = done_.address();
  wait.pValues = &done_value_;
  VESPER_CHECK(gpu_.vk.WaitSemaphores(gpu_.device, &wait, kWaitLimitNs));
}

// Makes everything ready for the next step. The call that has told of the end may not have told
// enough for that: an event says nothing about the fence.
void MemoryProgram::Recycle() {
  gpu_.Wait(fence_);
  VESPER_CHECK(gpu_.vk.ResetFences(gpu_.device, 1, fence_.address()));
  VESPER_CHECK(gpu_.vk.ResetEvent(gpu_.device, done_event_));
  for (const Owned<VkEvent>& event : gate_events_) {
    VESPER_CHECK(gpu_.vk.ResetEvent(gpu_.device, event));
  }
  VESPER_CHECK(gpu_.vk.ResetCommandPool(gpu_.device, pool_, 0));
}

void MemoryProgram::Compare() {
  for (Plot& plot : plots_) {
    const std::shared_lock lock(plot.memory->mutex);
    const uint8_t* data = plot.memory->Address(plot.begin, plot.bytes.size());
    if (data == nullptr) {
      continue;
    }
    if (!plot.memory->coherent() || random_.OneIn(200)) {
      plot.memory->Invalidate(plot.begin, plot.bytes.size());
    }
    ExpectBytes(plot, 0, plot.bytes.size(), data, "the program's");
  }
}

void MemoryProgram::CheckTheGpusView() {
  struct Piece {
    const Plot* plot = nullptr;
    size_t begin = 0;
    VkBufferCopy copy{};
  };
  std::vector<Piece> pieces;
  VkDeviceSize used = 0;
  const auto look = [&] {
    VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    info.commandPool = pool_;
    info.commandBufferCount = 1;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VESPER_CHECK(gpu_.vk.AllocateCommandBuffers(gpu_.device, &info, &commands));
    gpu_.RecordInto(commands, 0, [&](VkCommandBuffer) {
      gpu_.FullBarrier(commands);
      for (const Piece& piece : pieces) {
        gpu_.vk.CmdCopyBuffer(commands, piece.plot->memory->source(), witness_.handle, 1,
                              &piece.copy);
      }
      gpu_.FullBarrier(commands);
    });
    {
      const std::lock_guard lock(locks_.submit);
      gpu_.Submit(commands, fence_);
    }
    gpu_.Wait(fence_);
    for (const Piece& piece : pieces) {
      ExpectBytes(*piece.plot, piece.begin, piece.copy.size, witness_.data + piece.copy.dstOffset,
                  "the GPU's");
    }
    Recycle();
    pieces.clear();
    used = 0;
  };
  for (const Plot& plot : plots_) {
    for (size_t begin = 0; begin < plot.bytes.size();) {
      const size_t size = std::min<size_t>(plot.bytes.size() - begin, kWitnessSize - used);
      pieces.push_back({&plot, begin, {plot.begin + begin, used, size}});
      begin += size;
      used += size;
      if (used == kWitnessSize) {
        look();
      }
    }
  }
  look();
}

}  // namespace vesper::tests
