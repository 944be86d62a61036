// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/mock_vulkan.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "proto/decoder.h"
#include "proto/encoder.h"
#include "proto/reader.h"
#include "proto/records_gen.h"
#include "proto/walk.h"
#include "server/invoke.h"

namespace vesper::tests {
namespace {

namespace number = proto::command_number;

std::atomic<MockVulkan*> current{nullptr};

uint64_t Same(proto::HandleType, uint64_t handle) { return handle; }

class SameResolver : public proto::HandleResolver {
 public:
  void BeginCommand() override {}
  proto::Resolution Resolve(proto::HandleType, proto::ObjectId id, uint64_t* handle) override {
    *handle = id;
    return proto::Resolution::kResolved;
  }
};

template <typename T>
const T* FindInChain(const void* next, VkStructureType type) {
  for (auto* element = static_cast<const VkBaseInStructure*>(next); element != nullptr;
       element = element->pNext) {
    if (element->sType == type) {
      return reinterpret_cast<const T*>(element);
    }
  }
  return nullptr;
}

template <typename Info>
std::vector<std::pair<VkSemaphore, uint64_t>> Signals(const Info& info) {
  std::vector<std::pair<VkSemaphore, uint64_t>> signals;
  const auto* values = FindInChain<VkTimelineSemaphoreSubmitInfo>(
      info.pNext, VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
  for (uint32_t i = 0; i < info.signalSemaphoreCount; ++i) {
    const uint64_t value = values != nullptr && i < values->signalSemaphoreValueCount
                               ? values->pSignalSemaphoreValues[i]
                               : 0;
    signals.emplace_back(info.pSignalSemaphores[i], value);
  }
  return signals;
}

std::vector<std::pair<VkSemaphore, uint64_t>> Signals(const VkSubmitInfo2& info) {
  std::vector<std::pair<VkSemaphore, uint64_t>> signals;
  for (uint32_t i = 0; i < info.signalSemaphoreInfoCount; ++i) {
    signals.emplace_back(info.pSignalSemaphoreInfos[i].semaphore,
                         info.pSignalSemaphoreInfos[i].value);
  }
  return signals;
}

}  // namespace

MockVulkan::MockVulkan() {
  if (current.exchange(this) != nullptr) {
    std::abort();  // two at a time
  }
}

MockVulkan::~MockVulkan() { current.store(nullptr); }

MockVulkan& MockVulkan::Current() { return *current.load(); }

PFN_vkVoidFunction VKAPI_CALL MockVulkan::GetProcAddr(VkInstance, const char* name) {
  static const std::unordered_map<std::string_view, PFN_vkVoidFunction> functions = [] {
    std::unordered_map<std::string_view, PFN_vkVoidFunction> all;
    for (const auto procs : {LocalMockProcs(), GeneratedMockProcs()}) {
      for (const MockProc& proc : procs) {
        all.emplace(proc.name, proc.function);
      }
    }
    return all;
  }();
  const auto found = functions.find(name);
  return found == functions.end() ? nullptr : found->second;
}

// -- what tests ask and say -----------------------------------------------------------------------

std::vector<std::string> MockVulkan::Names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const MockCall& call : calls_) {
    if (call.name != "vkWaitSemaphores" && call.name != "vkGetSemaphoreCounterValue") {
      names.push_back(call.name);
    }
  }
  return names;
}

size_t MockVulkan::Count(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::count_if(
      calls_.begin(), calls_.end(), [&](const MockCall& call) { return call.name == name; }));
}

void MockVulkan::Clear() {
  const std::lock_guard lock(mutex_);
  calls_.clear();
}

void MockVulkan::On(uint16_t number, std::function<void(void*)> hook) {
  const std::lock_guard lock(mutex_);
  hooks_[number] = std::move(hook);
}

void MockVulkan::OnLocal(const std::string& name, std::function<void()> hook) {
  const std::lock_guard lock(mutex_);
  local_hooks_[name] = std::move(hook);
}

void MockVulkan::FailNext(uint16_t number, VkResult result) {
  const std::lock_guard lock(mutex_);
  failures_[number] = result;
}

void MockVulkan::Hold(bool hold) {
  {
    const std::lock_guard lock(mutex_);
    held_ = hold;
  }
  RunPending();
}

void MockVulkan::HoldQueue(VkQueue queue) {
  {
    const std::lock_guard lock(mutex_);
    held_queue_ = queue;
  }
  RunPending();
}

std::shared_ptr<MockVulkan::Allocation> MockVulkan::Allocate(size_t size, uint32_t type) {
  auto made = std::make_shared<Allocation>();
  made->size = size;
  if (type != kMockSlow) {
    made->bytes = {new std::byte[size], [](std::byte* bytes) { delete[] bytes; }};
    made->mapped = made->bytes.get();
    return made;
  }
  const int file = ::memfd_create("mock", MFD_CLOEXEC);
  if (file < 0 || ::ftruncate(file, static_cast<off_t>(size)) != 0) {
    std::abort();
  }
  const auto map = [&] {
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
  };
  made->mapped = map();
  made->bytes = {map(), [size, mapped = made->mapped](std::byte* bytes) {
                   ::munmap(bytes, size);
                   ::munmap(mapped, size);
                 }};
  ::close(file);
  return made;
}

std::shared_ptr<MockVulkan::Allocation> MockVulkan::Import(void* pages, size_t size) {
  auto made = std::make_shared<Allocation>();
  made->bytes = {static_cast<std::byte*>(pages), [](std::byte*) {}};
  made->size = size;
  made->mapped = made->bytes.get();
  made->is_imported = true;
  return made;
}

void MockVulkan::ForbidCpu(size_t index, bool forbid) {
  const std::lock_guard lock(mutex_);
  const Allocation& allocation = *allocations_.at(index);
  ::mprotect(allocation.mapped, allocation.size, forbid ? PROT_NONE : PROT_READ | PROT_WRITE);
}

void MockVulkan::OnExecute(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  work_ = std::move(work);
}

void MockVulkan::LoseDevice() {
  const std::lock_guard lock(mutex_);
  lost_ = true;
  changed_.notify_all();
}

std::span<std::byte> MockVulkan::Memory(size_t index) {
  const std::lock_guard lock(mutex_);
  return {allocations_.at(index)->bytes.get(), allocations_.at(index)->size};
}

bool MockVulkan::IsImported(size_t index) const {
  const std::lock_guard lock(mutex_);
  return allocations_.at(index)->is_imported;
}

size_t MockVulkan::MemoryCount() const {
  const std::lock_guard lock(mutex_);
  return allocations_.size();
}

size_t MockVulkan::Live() const {
  const std::lock_guard lock(mutex_);
  return live_.size();
}

const void* MockVulkan::Decode(const std::string& name, size_t index, proto::Arena& arena) const {
  const std::lock_guard lock(mutex_);
  for (const MockCall& call : calls_) {
    if (call.name != name || index-- != 0) {
      continue;
    }
    const proto::Record* record = proto::CommandRecord(call.number);
    if (record == nullptr) {
      return nullptr;
    }
    void* args = arena.Allocate(record->size);
    SameResolver resolver;
    proto::Decoder decoder(arena, &resolver);
    proto::Reader reader(call.bytes);
    return decoder.Struct(*record, reader, args) == proto::DecodeResult::kDecoded ? args : nullptr;
  }
  return nullptr;
}

// -- the driver -----------------------------------------------------------------------------------

void MockVulkan::Note(const char* name) {
  std::function<void()> hook;
  {
    const std::lock_guard lock(mutex_);
    if (recording_) {
      calls_.push_back({name, 0, {}});
    }
    const auto found = local_hooks_.find(name);
    if (found != local_hooks_.end()) {
      hook = found->second;
    }
  }
  if (hook) {
    hook();
  }
}

void MockVulkan::Record(const proto::Record& record, const void* args) {
  if (!recording_) {
    return;
  }
  // Handles that the call is about to make: anything that is an id, so that it can be decoded.
  for (const proto::Op& op : record.ops) {
    auto* handles =
        (op.flags & proto::kNewIds) != 0 ? proto::LoadField<uint64_t*>(args, op.offset) : nullptr;
    const uint64_t count = handles == nullptr ? 0 : proto::EvaluateLength(op.length, args);
    for (uint64_t i = 0; i < count; ++i) {
      handles[i] = proto::MakeObjectId(static_cast<proto::HandleType>(op.type), 1, 0);
    }
  }
  proto::Buffer buffer;
  const proto::KnownStructs known;
  proto::Encoder(buffer, known, Same).Struct(record, args);
  calls_.push_back({record.name, record.number, {buffer.Bytes().begin(), buffer.Bytes().end()}});
}

uint64_t MockVulkan::MakeHandle() {
  next_handle_ += 0x10;
  live_.insert(next_handle_);
  return next_handle_;
}

std::pair<size_t, size_t> MockVulkan::Budget() {
  const std::lock_guard lock(mutex_);
  return {budget_, memory_live_};
}

void MockVulkan::DestroyHandle(uint64_t handle) {
  live_.erase(handle);
  if (const auto found = memories_.find(handle); found != memories_.end()) {
    memory_live_ -= found->second->size;
    memories_.erase(found);
  }
  timelines_.erase(handle);
  buffer_sizes_.erase(handle);
  bound_.erase(reinterpret_cast<VkBuffer>(handle));
}

bool MockVulkan::FailsNow(uint16_t command, VkResult* result) {
  const auto found = failures_.find(command);
  if (found == failures_.end()) {
    return false;
  }
  *result = found->second;
  failures_.erase(found);
  return true;
}

void MockVulkan::Execute(uint16_t command, void* args) {
  const proto::Record& record = *proto::CommandRecord(command);
  std::function<void(void*)> hook;
  {
    const std::lock_guard lock(mutex_);
    Record(record, args);
    VkResult result = VK_SUCCESS;
    if (FailsNow(command, &result)) {
      for (const proto::Op& op : record.ops) {
        auto* handles = (op.flags & proto::kNewIds) != 0
                            ? proto::LoadField<uint64_t*>(args, op.offset)
                            : nullptr;
        if (handles != nullptr) {
          std::fill_n(handles, proto::EvaluateLength(op.length, args), 0);
        }
      }
      proto::StoreField(args, server::FindHostCommand(command)->result_offset, result);
      return;
    }
    Default(record, args);
    const auto found = hooks_.find(command);
    if (found != hooks_.end()) {
      hook = found->second;
    }
  }
  if (hook) {
    hook(args);
  }
  RunPending();
}

void MockVulkan::Default(const proto::Record& record, void* args) {
  for (const proto::Op& op : record.ops) {
    if ((op.flags & proto::kNewIds) != 0) {
      auto* handles = proto::LoadField<uint64_t*>(args, op.offset);
      const uint64_t count = proto::EvaluateLength(op.length, args);
      for (uint64_t i = 0; handles != nullptr && i < count; ++i) {
        handles[i] = MakeHandle();
      }
    } else if ((op.flags & proto::kConsumed) != 0 && op.kind == proto::OpKind::kHandle) {
      DestroyHandle(proto::LoadField<uint64_t>(args, op.offset));
    } else if ((op.flags & proto::kConsumed) != 0 && op.kind == proto::OpKind::kHandles) {
      const auto* handles = proto::LoadField<const uint64_t*>(args, op.offset);
      const uint64_t count = proto::EvaluateLength(op.length, args);
      for (uint64_t i = 0; handles != nullptr && i < count; ++i) {
        DestroyHandle(handles[i]);
      }
    }
  }
  switch (record.number) {
    case number::vkCreateBuffer: {
      const auto& a = *static_cast<proto::Args_vkCreateBuffer*>(args);
      buffer_sizes_[reinterpret_cast<uint64_t>(*a.pBuffer)] = a.pCreateInfo->size;
      break;
    }
    case number::vkGetBufferMemoryRequirements2: {
      const auto& a = *static_cast<proto::Args_vkGetBufferMemoryRequirements2*>(args);
      const VkDeviceSize size = buffer_sizes_[reinterpret_cast<uint64_t>(a.pInfo->buffer)];
      a.pMemoryRequirements->memoryRequirements = {(size + 15) & ~VkDeviceSize{15}, 16, 15};
      break;
    }
    case number::vkGetImageMemoryRequirements2: {
      const auto& a = *static_cast<proto::Args_vkGetImageMemoryRequirements2*>(args);
      a.pMemoryRequirements->memoryRequirements = {65536, 256, 15};
      break;
    }
    case number::vkAllocateMemory: {
      auto& a = *static_cast<proto::Args_vkAllocateMemory*>(args);
      const VkDeviceSize size = a.pAllocateInfo->allocationSize;
      if (size == 0 || size > memory_limit_ - memory_used_ ||
          (budget_ != 0 && size > budget_ - memory_live_)) {
        DestroyHandle(reinterpret_cast<uint64_t>(*a.pMemory));
        *a.pMemory = VK_NULL_HANDLE;
        a.ret = VK_ERROR_OUT_OF_DEVICE_MEMORY;
        break;
      }
      memory_used_ += size;
      memory_live_ += size;
      const auto* import = FindInChain<VkImportMemoryHostPointerInfoEXT>(
          a.pAllocateInfo->pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);
      auto allocation = import != nullptr ? Import(import->pHostPointer, size)
                                          : Allocate(size, a.pAllocateInfo->memoryTypeIndex);
      if (import == nullptr) {
        // What a driver gives is not zeroed.
        std::memset(allocation->bytes.get(), 0xcd, size);
      }
      memories_[reinterpret_cast<uint64_t>(*a.pMemory)] = allocation;
      allocations_.push_back(std::move(allocation));
      break;
    }
    case number::vkBindBufferMemory: {
      const auto& a = *static_cast<proto::Args_vkBindBufferMemory*>(args);
      if (const auto found = memories_.find(reinterpret_cast<uint64_t>(a.memory));
          found != memories_.end()) {
        bound_[a.buffer] = {found->second, a.memoryOffset};
      }
      break;
    }
    case number::vkBeginCommandBuffer:
      copies_[static_cast<proto::Args_vkBeginCommandBuffer*>(args)->commandBuffer].clear();
      break;
    case number::vkCmdCopyBuffer: {
      const auto& a = *static_cast<proto::Args_vkCmdCopyBuffer*>(args);
      for (uint32_t i = 0; i < a.regionCount; ++i) {
        copies_[a.commandBuffer].push_back({a.srcBuffer, a.dstBuffer, a.pRegions[i]});
      }
      break;
    }
    case number::vkCreateSemaphore: {
      const auto& a = *static_cast<proto::Args_vkCreateSemaphore*>(args);
      const auto* type = FindInChain<VkSemaphoreTypeCreateInfo>(
          a.pCreateInfo->pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
      if (type != nullptr && type->semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE) {
        timelines_[reinterpret_cast<uint64_t>(*a.pSemaphore)] = type->initialValue;
      }
      break;
    }
    case number::vkSignalSemaphore: {
      const auto& a = *static_cast<proto::Args_vkSignalSemaphore*>(args);
      const auto found = timelines_.find(reinterpret_cast<uint64_t>(a.pSignalInfo->semaphore));
      if (found != timelines_.end()) {
        found->second = std::max(found->second, a.pSignalInfo->value);
        changed_.notify_all();
      }
      break;
    }
    case number::vkQueueSubmit: {
      auto& a = *static_cast<proto::Args_vkQueueSubmit*>(args);
      std::vector<Batch> batches;
      for (uint32_t i = 0; i < a.submitCount; ++i) {
        const VkSubmitInfo& info = a.pSubmits[i];
        batches.push_back({a.queue,
                           {info.pCommandBuffers, info.pCommandBuffers + info.commandBufferCount},
                           Signals(info)});
      }
      a.ret = lost_ ? VK_ERROR_DEVICE_LOST : VK_SUCCESS;
      Submit(std::move(batches));
      break;
    }
    case number::vkQueueSubmit2: {
      auto& a = *static_cast<proto::Args_vkQueueSubmit2*>(args);
      std::vector<Batch> batches;
      for (uint32_t i = 0; i < a.submitCount; ++i) {
        batches.push_back({a.queue, {}, Signals(a.pSubmits[i])});
      }
      a.ret = lost_ ? VK_ERROR_DEVICE_LOST : VK_SUCCESS;
      Submit(std::move(batches));
      break;
    }
    case number::vkQueueBindSparse: {
      auto& a = *static_cast<proto::Args_vkQueueBindSparse*>(args);
      std::vector<Batch> batches;
      for (uint32_t i = 0; i < a.bindInfoCount; ++i) {
        batches.push_back({a.queue, {}, Signals(a.pBindInfo[i])});
      }
      a.ret = lost_ ? VK_ERROR_DEVICE_LOST : VK_SUCCESS;
      Submit(std::move(batches));
      break;
    }
    default:
      break;
  }
}

void MockVulkan::Submit(std::vector<Batch> batches) {
  if (!lost_) {
    pending_.insert(pending_.end(), batches.begin(), batches.end());
  }
}

void MockVulkan::RunCopies(const Batch& batch) {
  for (const VkCommandBuffer buffer : batch.buffers) {
    for (const Copy& copy : copies_[buffer]) {
      const auto source = bound_.find(copy.source);
      const auto target = bound_.find(copy.target);
      const auto holds = [&](const auto& bound, VkDeviceSize offset) {
        return bound != bound_.end() && bound->second.offset <= bound->second.allocation->size &&
               offset <= bound->second.allocation->size - bound->second.offset &&
               copy.region.size <= bound->second.allocation->size - bound->second.offset - offset;
      };
      if (holds(source, copy.region.srcOffset) && holds(target, copy.region.dstOffset)) {
        std::memmove(
            target->second.allocation->bytes.get() + target->second.offset + copy.region.dstOffset,
            source->second.allocation->bytes.get() + source->second.offset + copy.region.srcOffset,
            copy.region.size);
      }
    }
  }
}

void MockVulkan::RunPending() {
  std::unique_lock lock(mutex_);
  while (!held_ && !lost_) {
    const auto next = std::find_if(pending_.begin(), pending_.end(), [&](const Batch& pending) {
      return held_queue_ == VK_NULL_HANDLE || pending.queue != held_queue_;
    });
    if (next == pending_.end()) {
      break;
    }
    const Batch batch = std::move(*next);
    pending_.erase(next);
    const std::function<void()> work = work_;
    lock.unlock();
    if (work) {
      work();
    }
    lock.lock();
    RunCopies(batch);
    for (const auto& [semaphore, value] : batch.signals) {
      const auto found = timelines_.find(reinterpret_cast<uint64_t>(semaphore));
      if (found != timelines_.end()) {
        found->second = std::max(found->second, value);
      }
    }
    changed_.notify_all();
  }
}

VkResult MockVulkan::WaitSemaphores(const VkSemaphoreWaitInfo& info, uint64_t timeout) {
  std::unique_lock lock(mutex_);
  const auto reached = [&] {
    for (uint32_t i = 0; i < info.semaphoreCount; ++i) {
      const auto found = timelines_.find(reinterpret_cast<uint64_t>(info.pSemaphores[i]));
      if (found == timelines_.end() || found->second < info.pValues[i]) {
        return false;
      }
    }
    return true;
  };
  const auto limit = std::chrono::nanoseconds(std::min<uint64_t>(timeout, 10'000'000'000));
  const bool done = changed_.wait_for(lock, limit, [&] { return lost_ || reached(); });
  return lost_ ? VK_ERROR_DEVICE_LOST : done ? VK_SUCCESS : VK_TIMEOUT;
}

VkResult MockVulkan::CounterValue(VkSemaphore semaphore, uint64_t* value) {
  const std::lock_guard lock(mutex_);
  *value = timelines_[reinterpret_cast<uint64_t>(semaphore)];
  return lost_ ? VK_ERROR_DEVICE_LOST : VK_SUCCESS;
}

VkResult MockVulkan::Map(VkDeviceMemory memory, VkDeviceSize offset, void** data) {
  const std::lock_guard lock(mutex_);
  const auto found = memories_.find(reinterpret_cast<uint64_t>(memory));
  if (found == memories_.end() || offset >= found->second->size) {
    return VK_ERROR_MEMORY_MAP_FAILED;
  }
  *data = found->second->mapped + offset;
  return VK_SUCCESS;
}

}  // namespace vesper::tests
