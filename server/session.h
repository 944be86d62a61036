// SPDX-License-Identifier: Apache-2.0
//
// One guest's session: executes its stream of commands on the driver. One thread runs it; the
// queues' watchers (queue.h) push beside it. Decoding turns ids into native handles; what cannot be
// resolved makes the command be skipped, what is malformed ends the session.
//
// What takes long is done by tasks (session_tasks.cpp): compilations, the replay of command
// buffers, and whatever has to come after those. The stream goes on meanwhile.
//
// Skipping. A command that names an object which is dead or poisoned has no effect. If it would
// have made objects, those are poisoned. If it was recorded into a command buffer, that buffer is
// broken until it begins anew, for the commands after it may rely on it. If it would have bound or
// updated something, that is broken until it is destroyed. Submissions are never
// skipped: they go on without what is missing, so that fences and semaphores signal.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "proto/arena.h"
#include "proto/decoder.h"
#include "proto/frame.h"
#include "proto/hash.h"
#include "proto/records_gen.h"
#include "proto/setup.h"
#include "server/command_observer.h"
#include "server/device.h"
#include "server/host_vulkan.h"
#include "server/object_table.h"
#include "server/outbox.h"
#include "server/statistics.h"
#include "server/task_pool.h"
#include "server/worker.h"
#include "transport/ring_connection.h"

namespace vesper::server {

class Session {
 public:
  /// `get` is the loader of the driver to use. Without `threads` everything is executed in the
  /// stream.
  Session(transport::Connection& connection, PFN_vkGetInstanceProcAddr get,
          std::string device_selector, MemoryReading memory_reading = MemoryReading::kAuto,
          unsigned threads = 0);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  enum class Setup { kDone, kNoDriver, kInvalid };
  /// What the set-up offers of proto/chunks.h; before the hello.
  void OfferChunks(uint32_t mebibytes) { chunk_mebibytes_ = mebibytes; }
  /// Is called with the key of a guest that wants its chunks archived; false if they are not.
  /// Before the hello.
  void OfferArchive(std::function<bool(const proto::HashKey& key)> open) {
    open_archive_ = std::move(open);
  }
  /// Answers the guest's hello: welcome or refusal. `error` says why it was refused.
  Setup HandleHello(std::span<const std::byte> payload, std::string* error);
  /// Executes the commands of one frame. False if the guest sent something invalid (`error`).
  bool HandleCommands(std::span<const std::byte> payload, std::string* error);
  /// Is called, once and on any thread, when a task finds that the guest sent something invalid.
  /// HandleCommands says so, too, but may not be called for a long time. Before the hello.
  void OnFailure(std::function<void(const std::string& error)> handler) {
    failure_handler_ = std::move(handler);
  }
  /// Memory is never shared with the guest. Before the hello.
  void ForbidSharing() { may_share_ = false; }
  /// What is said never passes through rings. Before the hello.
  void ForbidRings() { may_use_rings_ = false; }
  /// Progress is always pushed. Before the hello.
  void ForbidProgressPage() { uses_progress_page_ = false; }
  /// Whether threads that wait may spin first. Before the hello.
  void SetSpinning(transport::Spinning spinning) { spinning_ = spinning; }
  /// After the hello: where commands come from in place of the connection; null if it goes on.
  transport::RingConnection* rings() { return rings_.get(); }
  const std::string& why_no_rings() const { return why_no_rings_; }
  /// True once there are rings. Any thread.
  bool UsesRings() const { return uses_rings_.load(); }
  /// Shows what is executed; before the hello.
  void SetObserver(CommandObserver* observer) { observer_ = observer; }
  /// Waits until all tasks have ended. Any thread.
  void WaitForTasks() { tasks_.WaitForAll(); }
  /// Tells the guest the halves of the hashes of chunks that are archived. Any thread.
  void TellArchived(std::span<const uint64_t> low, std::span<const uint64_t> high);
  /// Tells the guest that the session ends, and why.
  void SayGoodbye(const char* reason);

  const proto::Hello& hello() const { return hello_; }
  Statistics& statistics() { return statistics_; }
  /// True once a device of this session was lost, even if it was destroyed since. Any thread.
  bool HasLostDevice() const { return any_device_lost_.load(); }

 private:
  /// What a thread needs to execute commands, and the one that it has decoded.
  struct Context {
    explicit Context(const ObjectTable& objects) : resolver(objects) {
      // Memory contents and shader code stay in the frame until they are used.
      decoder.BorrowArraysFrom(4096);
    }

    proto::Arena arena;
    ObjectResolver resolver;
    proto::Decoder decoder{arena, &resolver};
    const proto::Record* record = nullptr;
    std::span<const std::byte> request;  // what was decoded
    void* args = nullptr;
    bool is_available = false;  // all that the command names is there
    proto::ObjectId recorded_into = 0;
    RecordedWrites::Recording* recording = nullptr;  // of the replay's command buffer, once needed
    uint64_t position = 0;                           // of the command in the stream
    WriteSet host_writes;  // what the host itself has written to images in the command
  };

  /// Of a command that both sides know: asked about for each command that comes.
  struct CommandClass {
    bool is_allowed : 1 = false;   // a guest may send it
    bool is_recorded : 1 = false;  // its first argument is the command buffer that it belongs to
    bool is_plain : 1 = false;     // recorded, and nothing but a call of the driver
    bool names_more : 1 = false;   // recorded, and names what its replay needs (Collect)
  };
  /// `known`: the commands that the guest knows as well.
  void ClassifyCommands(const std::vector<bool>& known);
  CommandClass ClassOf(uint16_t number) const {
    return number < classes_.size() ? classes_[number] : CommandClass{};
  }
  /// False if no guest may send this command.
  bool IsAllowed(const proto::Command& command) const {
    return ClassOf(command.number).is_allowed && (command.flags & proto::kIsReply) == 0;
  }
  /// Into the context. False if it is malformed.
  bool Decode(Context& context, const proto::Command& command, std::string* error);
  /// Executes what was decoded. False if the guest sent something invalid.
  bool Perform(Context& context, const proto::Command& command, std::string* error);
  /// The same in a replay.
  bool PerformRecorded(Context& context, const proto::Command& command, std::string* error);
  bool SkipUnavailable(Context& context, const proto::Command& command);
  /// False if the arguments are such that no guest of ours sends them.
  bool Run(Context& context, uint16_t number, void* args, VkResult* result);
  bool Register(Context& context, VkResult result, bool posted);
  void ReportFailure(Context& context, VkResult result);

  // Tasks (session_tasks.cpp).
  enum class Scheduling;
  /// Recorded commands for one command buffer, as they follow each other in the stream.
  struct RecordedRun {
    proto::ObjectId buffer = 0;
    proto::ObjectId pool = 0;
    std::span<const std::byte> received;  // in the frame, while it is collected
    std::vector<std::byte> bytes;
    uint64_t place = 0;
    uint64_t position = 0;  // of the last command that was decoded
    proto::CommandWalker walker{{}};
    std::vector<TaskPool::Need> needs;
  };
  /// The command buffer that a recorded command belongs to, or 0 for other commands.
  static proto::ObjectId RecordedInto(const proto::Record& record, const proto::Command& command);
  static Scheduling SchedulingOf(const proto::Record& record);
  /// Executes a command, in the stream or as a task. False if the guest sent something invalid.
  bool Execute(const proto::Command& command, std::string* error);
  std::vector<TaskPool::Need> NeedsOf(Scheduling scheduling);
  void AddNeedOfQueue(proto::ObjectId id, std::vector<TaskPool::Need>& needs) const;
  /// True for a descriptor set that may be updated while command buffers bind it.
  bool MayChangeWhileBound(proto::ObjectId id) const;
  void WaitFor(const std::vector<TaskPool::Need>& needs);
  void WaitForDestructions();
  /// Lets a task execute what the stream's context holds.
  bool Defer(const proto::Command& command, TaskPool::Kind kind, bool after_replays,
             std::vector<TaskPool::Need> needs);
  /// Follows which command buffers belong to which pool.
  void FollowCommandBuffers(uint16_t command);
  /// Adds a command to what a task will replay; false if it is none of those.
  bool Collect(const proto::Command& command);
  /// Lets a task replay what was collected.
  void PostReplay();
  /// One task's turn: nothing, or what it waits for.
  std::optional<TaskPool::Key> Replay(RecordedRun& run);
  std::unique_ptr<Context> TakeContext(uint64_t place);
  void GiveContext(std::unique_ptr<Context> context);
  void Fail(const std::string& error);
  /// Sets and command buffers of a pool, by its native handle.
  std::vector<proto::ObjectId> ChildrenOf(uint64_t pool);

  // Hand-written commands, in the file of their noun (session_*.cpp).
  VkResult CreateDevice(proto::Args_vkCreateDevice& args);
  void DestroyDevice(HostDevice& device);
  /// True if memory of this type is to be read by the GPU.
  bool IsReadByGpu(const HostInstance::PhysicalDevice& device, uint32_t memory_type) const;
  bool AllocateMemory(HostDevice& device, proto::Args_vkAllocateMemory& args);
  /// True if the worker may bind a buffer of its own to the memory, or import it. Memory that is
  /// dedicated to the guest's resource admits neither, so a dedication that the resource can do
  /// without is dropped.
  static bool CanHoldOthers(HostDevice& device, VkMemoryAllocateInfo& info);
  /// `is_leased`: it was posted. Called for what the driver has made.
  void NoteAllocation(HostDevice& device, const VkMemoryAllocateInfo& info, VkDeviceMemory memory,
                      bool is_leased);
  void RenewLease(HostDevice& device, uint32_t heap);
  static bool ReturnLease(HostDevice& device, const proto::Args_vesperReturnLease& args);
  void FreeMemory(HostDevice& device, const proto::Args_vkFreeMemory& args);
  bool GetQueryPoolResults(HostDevice& device, proto::Args_vkGetQueryPoolResults& args);
  /// Asks and answers on a thread of its own, if this driver would hold up the stream; else false.
  bool AnswerQueriesLater(const proto::Command& command,
                          const proto::Args_vkGetQueryPoolResults& args);
  bool MapMemory(HostDevice& device, proto::Args_vesperMapMemory& args);
  bool WriteMemory(HostDevice& device, const proto::Args_vesperWriteMemory& args);
  void DeferMemory(HostDevice& device, const proto::Args_vesperDeferMemory& args);
  void FetchMemory(HostDevice& device, const proto::Args_vesperFetchMemory& args);
  bool NotePictures(HostDevice& device, const proto::Args_vesperNotePictures& args);
  /// True if the driver writes no more handles than there is room for.
  bool HasRoomForGroupHandles(HostDevice& device,
                              const proto::Args_vkGetRayTracingShaderGroupHandlesKHR& args);
  bool GetQueue(HostDevice& device, const proto::Args_vesperGetQueue& args);
  bool CopyMemoryToImage(Context& context, HostDevice& device,
                         proto::Args_vesperCopyMemoryToImage& args);
  bool CopyImageToMemory(HostDevice& device, proto::Args_vesperCopyImageToMemory& args);

  // What is shared with the guest (session_sharing.cpp).
  /// Takes what came along with the hello, as far as it may be taken, and says so in the welcome.
  std::unique_ptr<transport::RingMemory> TakeShared(proto::Welcome& welcome);
  /// What follows the welcome passes through rings.
  void UseRings(std::unique_ptr<transport::RingMemory> memory);
  /// True if memory of the device, which is about to be created, may be shared: a program that may
  /// bind memory to sparse resources must be able to bind any.
  bool SharesMemory(const HostInstance::PhysicalDevice& physical,
                    const VkDeviceCreateInfo& info) const;
  /// Tries what memory of the device can be shared, and says so.
  void ShareMemory(HostDevice& device);
  /// Of the guest's own pages, if that can be done.
  bool AllocateShared(HostDevice& device, proto::Args_vesperAllocateMemory& args);
  /// Says what has become of an allocation that was posted, or made.
  void TellShared(HostDevice& device, proto::ObjectId memory, bool is_shared);
  /// Puts the arguments of a command right that binds resources to shared memory; and destroys what
  /// a resource has kept. Before the command is executed.
  void PrepareSharing(HostDevice& device, uint16_t command, void* args);
  /// Remembers how a buffer or an image was created, which it was.
  void NoteCreation(const Context& context, HostDevice& device, uint16_t command, const void* args);
  /// The resource that is to be bound to the memory in place of this one.
  VkBuffer ForMemory(HostDevice& device, VkBuffer buffer, VkDeviceMemory memory, uint64_t offset);
  VkImage ForMemory(HostDevice& device, VkImage image, VkDeviceMemory memory, uint64_t offset);
  template <typename Args, typename Resource, typename Create>
  Resource MakeExternal(HostDevice& device, ExternalResources<Resource>& resources,
                        uint16_t command, Resource first, const Create& create);

  /// Commands of extensions (session_extensions.cpp): whether the arguments are sensible, or
  /// nothing if the command is none of these.
  std::optional<bool> RunExtension(Context& context, HostDevice& device, uint16_t command,
                                   void* args);
  bool CreatePipelineBinaries(HostDevice& device, proto::Args_vesperCreatePipelineBinaries& args);
  bool GetPipelineKey(HostDevice& device, proto::Args_vesperGetPipelineKey& args);
  bool GetPipelineBinaryData(HostDevice& device, proto::Args_vkGetPipelineBinaryDataKHR& args);
  bool GetDeviceFaultInfo(HostDevice& device, proto::Args_vesperGetDeviceFaultInfo& args);
  bool ConvertCooperativeVectorMatrix(Context& context, HostDevice& device,
                                      proto::Args_vesperConvertCooperativeVectorMatrix& args);
  bool CreateQueryPool(HostDevice& device, proto::Args_vkCreateQueryPool& args);
  /// False if a command on a physical device would index past the driver's tables.
  bool IsInRange(uint16_t command, const void* args) const;
  bool HasCounters(VkPhysicalDevice device, const VkQueryPoolPerformanceCreateInfoKHR& info) const;
  HostMemory* FindMemory(HostDevice& device, proto::ObjectId id);
  /// What is bound other than by vkBind*Memory can be written for good.
  void NoteSparseBinds(HostDevice& device, const VkBindSparseInfo* infos, uint32_t count);
  void NoteBinds(HostDevice& device, const proto::Args_vkBindAccelerationStructureMemoryNV& args);
  /// Breaks the resources of a bind that failed or is skipped.
  void BreakUnbound(uint16_t command, const void* args);
  /// Requirements of a resource that is not there. There is no error that the guest could return,
  /// and a program that finds no memory type to take gives up in ways of its own: so any type will
  /// do, and the failure is told by the call that allocates.
  void MakeUpRequirements(const HostDevice* device, uint16_t command, void* args);
  /// Breaks the sets whose update is skipped: what they lead to is not known.
  void BreakTargets(const proto::Args_vkUpdateDescriptorSets& args);
  /// Sets and command buffers die with their pool, or when it is reset.
  void NoteChildren(uint64_t pool, const std::vector<proto::ObjectId>& ids, VkResult result);
  void ForgetChildren(uint64_t pool);
  /// Remembers what a command that was executed says of descriptors; most say nothing.
  void NoteDescriptors(Context& context, HostDevice& device, uint16_t command, const void* args);
  /// And what a command that will be executed destroys: its handle may be another's afterwards.
  void ForgetDescriptors(HostDevice& device, uint16_t command, const void* args);

  const PFN_vkGetInstanceProcAddr get_;
  const std::string device_selector_;
  const MemoryReading memory_reading_;
  transport::Connection& connection_;
  bool may_share_ = true;
  bool may_use_rings_ = true;
  bool uses_progress_page_ = true;
  transport::Spinning spinning_ = transport::Spinning::kAuto;
  std::string why_no_rings_;
  std::unique_ptr<transport::RingConnection> rings_;
  std::atomic<bool> uses_rings_{false};
  uint32_t chunk_mebibytes_ = 0;
  std::function<bool(const proto::HashKey& key)> open_archive_;
  Statistics statistics_;
  Outbox outbox_;
  proto::Hello hello_;
  std::vector<CommandClass> classes_;  // by number
  std::unique_ptr<HostInstance> instance_;
  std::unique_ptr<SharedFile> shared_file_;  // null: no memory is shared
  ObjectTable objects_;
  Context stream_{objects_};
  std::mutex children_mutex_;
  std::unordered_map<uint64_t, std::vector<proto::ObjectId>> pool_children_;
  std::atomic<bool> any_device_lost_{false};
  CommandObserver* observer_ = nullptr;
  std::unordered_map<VkDevice, std::unique_ptr<HostDevice>> devices_;
  std::vector<std::future<void>> late_answers_;  // they use the devices

  // For tasks. The session's thread uses these:
  Context scanner_;
  std::unordered_map<proto::ObjectId, proto::ObjectId> pool_of_;  // of command buffers
  std::unordered_map<proto::ObjectId, std::unordered_set<proto::ObjectId>> buffers_of_;
  std::unique_ptr<RecordedRun> collected_;
  // Any thread uses these:
  std::mutex tasks_mutex_;
  std::vector<std::unique_ptr<Context>> contexts_;
  std::string failure_;
  std::atomic<bool> has_failed_{false};
  std::function<void(const std::string&)> failure_handler_;
  TaskPool tasks_;  // keep last: its threads use all of this
};

}  // namespace vesper::server
