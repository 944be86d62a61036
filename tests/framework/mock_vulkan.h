// SPDX-License-Identifier: Apache-2.0
//
// A Vulkan driver for the worker that has no device: it remembers what it is asked, gives made-up
// handles, keeps memory as plain memory and signals timeline semaphores as soon as work is
// submitted, unless the test holds it back. The functions themselves are generated
// (mock_vulkan_gen.cpp); those of commands that are not on the wire are in mock_vulkan_local.cpp.
#ifndef VESPER_TESTS_FRAMEWORK_MOCK_VULKAN_H_
#define VESPER_TESTS_FRAMEWORK_MOCK_VULKAN_H_

#include <vulkan/vulkan_core.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "proto/arena.h"
#include "proto/record.h"

namespace vesper::tests {

struct MockProc {
  const char* name;
  PFN_vkVoidFunction function;
};
std::span<const MockProc> GeneratedMockProcs();
std::span<const MockProc> LocalMockProcs();

// One call that reached the driver.
struct MockCall {
  std::string name;
  uint16_t number = 0;           // 0 for commands that are not on the wire
  std::vector<std::byte> bytes;  // the arguments as they came, encoded: they outlive the call
};

// The memory types of the device.
inline constexpr uint32_t kMockDeviceLocal = 0;
inline constexpr uint32_t kMockCoherent = 1;
inline constexpr uint32_t kMockCached = 2;  // host-visible, not coherent
inline constexpr uint32_t kMockSlow = 3;    // host-visible, and slow for the CPU to read

// What the handle of a group of ray tracing shaders takes.
inline constexpr uint32_t kMockGroupHandleBytes = 32;

// The driver's own handle of a queue.
VkQueue MockQueue(uint32_t family, uint32_t index);

// Thread-safe. Vulkan's global commands have no argument that could lead to an object, so there is
// one mock at a time, and it is found through Current().
class MockVulkan {
 public:
  MockVulkan();
  ~MockVulkan();
  MockVulkan(const MockVulkan&) = delete;
  MockVulkan& operator=(const MockVulkan&) = delete;

  static MockVulkan& Current();
  static PFN_vkVoidFunction VKAPI_CALL GetProcAddr(VkInstance instance, const char* name);

  // -- what tests ask and say

  // Names of the calls since the last Clear(), without those that happen at their own times
  // (waits).
  std::vector<std::string> Names() const;
  size_t Count(const std::string& name) const;
  void Clear();
  // The arguments of call `index` among those named so, decoded into `arena`; null if there is
  // none.
  template <typename Args>
  const Args* Arguments(const std::string& name, size_t index, proto::Arena& arena) const {
    return static_cast<const Args*>(Decode(name, index, arena));
  }
  // Runs after the default behaviour, with the command's Args struct.
  void On(uint16_t number, std::function<void(void* args)> hook);
  // The same for a command that is not on the wire, before what the mock does by itself.
  void OnLocal(const std::string& name, std::function<void()> hook);
  // The next call of this command returns `result` and makes nothing.
  void FailNext(uint16_t number, VkResult result);
  // While held, submitted work does not run.
  void Hold(bool hold);
  // While a queue is held, its work does not run; null: none is. Other queues' work does.
  void HoldQueue(VkQueue queue);
  // While forbidden, the host's CPU may neither read nor write an allocation of kMockSlow: the
  // process dies of it. The device's view, Memory(), is another one.
  void ForbidCpu(size_t index, bool forbid);
  // Runs on the submitting thread (or that of Hold(false)) before the work's semaphores signal.
  void OnExecute(std::function<void()> work);
  // Every later wait and submission says that the device is lost.
  void LoseDevice();
  // The content of an allocation, as the device sees it: by order of allocation, from 0.
  std::span<std::byte> Memory(size_t index);
  size_t MemoryCount() const;
  // True if an allocation is of the pages that the worker gave.
  bool IsImported(size_t index) const;
  // Which types of memory the driver can import; none if not said.
  void SetImportableTypes(uint32_t types) { importable_types_ = types; }
  uint32_t importable_types() const { return importable_types_; }
  // Objects made and not yet destroyed.
  size_t Live() const;
  // Remember nothing, for fuzzing.
  void SetRecording(bool recording) { recording_ = recording; }

  // Allocations fail beyond this many bytes in all.
  void SetMemoryLimit(size_t bytes) { memory_limit_ = bytes; }

  // Memory that there can be at once, in all heaps together; the driver tells of it as the budget
  // of each. 0: it does not tell, and the limit above is all.
  void SetBudget(size_t bytes) { budget_ = bytes; }
  // With the budget, what is used of it.
  std::pair<size_t, size_t> Budget();

  // The device is said to be Mesa's that runs on the CPU, which has ways of its own.
  void SetLavapipe(bool is_lavapipe) { is_lavapipe_ = is_lavapipe; }
  bool is_lavapipe() const { return is_lavapipe_; }

  // Without extensions a session begins sooner, for fuzzing.
  void SetExtensions(bool offered) { offers_extensions_ = offered; }
  bool offers_extensions() const { return offers_extensions_; }

  // What the device says of its driver.
  void SetDriverVersion(uint32_t version) { driver_version_ = version; }
  uint32_t driver_version() const { return driver_version_; }

  // -- what the driver's functions ask

  void Execute(uint16_t number, void* args);
  void Note(const char* name);
  VkResult WaitSemaphores(const VkSemaphoreWaitInfo& info, uint64_t timeout);
  VkResult CounterValue(VkSemaphore semaphore, uint64_t* value);
  VkResult Map(VkDeviceMemory memory, VkDeviceSize offset, void** data);
  // With the lock held:
  uint64_t MakeHandle();
  void DestroyHandle(uint64_t handle);
  bool FailsNow(uint16_t number, VkResult* result);
  std::unique_lock<std::mutex> Lock() { return std::unique_lock(mutex_); }

 private:
  struct Allocation {
    std::unique_ptr<std::byte[], std::function<void(std::byte*)>> bytes;
    size_t size = 0;
    std::byte* mapped = nullptr;  // what the host gets to see
    bool is_imported = false;     // and not to be touched once it is freed
  };
  struct Copy {
    VkBuffer source;
    VkBuffer target;
    VkBufferCopy region;
  };
  struct Bound {
    std::shared_ptr<Allocation> allocation;
    VkDeviceSize offset;
  };
  struct Batch {
    VkQueue queue;
    std::vector<VkCommandBuffer> buffers;
    std::vector<std::pair<VkSemaphore, uint64_t>> signals;
  };

  static std::shared_ptr<Allocation> Allocate(size_t size, uint32_t type);
  static std::shared_ptr<Allocation> Import(void* pages, size_t size);
  const void* Decode(const std::string& name, size_t index, proto::Arena& arena) const;
  void Record(const proto::Record& record, const void* args);
  void Default(const proto::Record& record, void* args);
  void Submit(std::vector<Batch> batches);
  void RunPending();
  // With the lock held: the recorded copies between buffers that are bound.
  void RunCopies(const Batch& batch);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool recording_ = true;
  bool offers_extensions_ = true;
  bool is_lavapipe_ = false;
  uint32_t driver_version_ = 1;
  uint32_t importable_types_ = 0;
  std::vector<MockCall> calls_;
  std::map<uint16_t, std::function<void(void*)>> hooks_;
  std::map<std::string, std::function<void()>> local_hooks_;
  std::map<uint16_t, VkResult> failures_;
  std::function<void()> work_;
  bool held_ = false;
  VkQueue held_queue_ = VK_NULL_HANDLE;
  bool lost_ = false;
  std::vector<Batch> pending_;
  uint64_t next_handle_ = 0x1000;
  std::set<uint64_t> live_;
  std::map<uint64_t, VkDeviceSize> buffer_sizes_;
  std::map<VkBuffer, Bound> bound_;
  std::map<VkCommandBuffer, std::vector<Copy>> copies_;
  std::map<uint64_t, std::shared_ptr<Allocation>> memories_;
  std::vector<std::shared_ptr<Allocation>> allocations_;  // by order; kept for the tests to see
  size_t memory_limit_ = 512u << 20;
  size_t memory_used_ = 0;
  size_t budget_ = 0;
  size_t memory_live_ = 0;
  std::map<uint64_t, uint64_t> timelines_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_MOCK_VULKAN_H_
