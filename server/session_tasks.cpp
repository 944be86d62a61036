// SPDX-License-Identifier: Apache-2.0
//
// Which commands are executed by tasks, and what each must come after.
//
// Everything looks as if it were executed in the stream's order. What a command needs follows from
// the ids that it names:
//
//   - a compilation (pipelines, shader modules, caches and binaries of pipelines) shares what it
//     names, and has what it makes or changes for itself. It is always a task; its objects are
//     pending in the table meanwhile;
//   - the recorded commands that follow each other in the stream for one command buffer are a
//     replay. It has the command buffer and its pool for itself. What else recorded commands name
//     would take as long to find as to replay, so a replay finds out when it gets there: at a
//     pending object it stops, and goes on when that is made. Two commands tell beforehand:
//     descriptor sets that are bound are shared, for they may be updated after the recording has
//     ended, and the pools of secondary command buffers are needed exclusively;
//   - a destruction needs what it destroys exclusively, and comes after all replays before it and
//     after all destructions before it. If that would mean to wait, it becomes a task: a program
//     destroys shader modules while their pipelines are compiled, and the stream must go on;
//   - what changes a pool needs it exclusively, and becomes a task likewise;
//   - what the host copies to and from images is always a task, and shares them. Whoever asked for
//     it waits for the answer, so whatever must come afterwards does;
//   - a question about a pipeline or a shader shares it, and becomes a task likewise: guests ask
//     while it is compiled;
//   - what a queue does needs the queue exclusively and shares its command buffers. It becomes a
//     task if a replay of those has not ended, or if something before it on its queue has not. That
//     looks to the program like a device that is slow to begin. Binary semaphores are needed
//     exclusively: a wait must not reach the driver before the signal that it waits for.
//     With timelines it may, so they are shared. Where the driver may stay in a submission until
//     a later command releases it, that is a task with a thread of its own;
//   - all other commands are executed in the stream, once what they name is there.
//
// Once posted, a task has all it needs: the command's bytes, decoded when its turn comes, as of its
// place in the order (object_table.h).
#include <algorithm>

#include "proto/walk.h"
#include "server/session.h"

namespace vesper::server {
namespace {

namespace number = proto::command_number;

/// Destructions need this, so that they happen in order: some drivers look at an image when its
/// view is destroyed. No object has such an id.
constexpr TaskPool::Key kDestructions = 1;

TaskPool::Need Exclusive(proto::ObjectId id) { return {id, true}; }
TaskPool::Need Shared(proto::ObjectId id) { return {id, false}; }

bool Is(proto::ObjectId id, proto::HandleType type) {
  return proto::ObjectTypeByte(id) == static_cast<uint8_t>(type);
}

/// What submissions share of a command pool, and what resets the pool needs exclusively. Replays
/// from the pool do not mind submissions, so it is not the pool's own key. No object has such an
/// id.
TaskPool::Key SubmissionsOf(proto::ObjectId pool) {
  return proto::MakeObjectId(proto::HandleType{0xff}, proto::ObjectGeneration(pool),
                             proto::ObjectIndex(pool));
}

/// True for the commands of objects of this type: they are the first argument.
bool BelongsTo(const proto::Record& record, proto::HandleType type) {
  return !record.ops.empty() && record.ops[0].kind == proto::OpKind::kHandle &&
         record.ops[0].offset == 0 && record.ops[0].type == static_cast<uint16_t>(type);
}

/// What a command in the stream changes, or must see all changes of.
bool IsChanged(uint16_t command, proto::ObjectId id) {
  switch (command) {
    case number::vkUpdateDescriptorSets:
      return Is(id, proto::HandleType::kDescriptorSet);
    case number::vkGetPipelineCacheData:
    case number::vkMergePipelineCaches:
      return Is(id, proto::HandleType::kPipelineCache);
    case number::vkCompileDeferredNV:
    case number::vkReleaseCapturedPipelineDataKHR:
      return Is(id, proto::HandleType::kPipeline);
    case number::vkUpdateIndirectExecutionSetPipelineEXT:
    case number::vkUpdateIndirectExecutionSetShaderEXT:
      return Is(id, proto::HandleType::kIndirectExecutionSetEXT);
    default:
      return false;
  }
}

}  // namespace

enum class Session::Scheduling {
  kStream,
  kCompilation,
  kCopy,  // by the host
  kDestruction,
  kPool,      // changes a pool of command buffers or descriptor sets
  kName,      // of an object, for tools
  kQuestion,  // about a pipeline or a shader
  kQueue,     // what a queue does
};

proto::ObjectId Session::RecordedInto(const proto::Record& record, const proto::Command& command) {
  // It is the first member of the image.
  return BelongsTo(record, proto::HandleType::kCommandBuffer) && command.body.size() >= 8
             ? proto::LoadField<uint64_t>(command.body.data(), 0)
             : 0;
}

Session::Scheduling Session::SchedulingOf(const proto::Record& record) {
  switch (record.number) {
    case number::vkCreateShaderModule:
    case number::vkCreateShadersEXT:
    case number::vkCreateGraphicsPipelines:
    case number::vkCreateComputePipelines:
    case number::vkCreateRayTracingPipelinesKHR:
    case number::vkCreateRayTracingPipelinesNV:
    case number::vkCompileDeferredNV:
    case number::vkCreatePipelineCache:
    case number::vkMergePipelineCaches:
    case number::vkGetPipelineCacheData:
    case number::vesperCreatePipelineBinaries:
    case number::vkGetPipelineBinaryDataKHR:
      return Scheduling::kCompilation;
    case number::vesperCopyMemoryToImage:
    case number::vesperCopyImageToMemory:
    case number::vkCopyImageToImage:
    case number::vkTransitionImageLayout:
    case number::vesperConvertCooperativeVectorMatrix:
      return Scheduling::kCopy;
    case number::vkAllocateCommandBuffers:
    case number::vkFreeCommandBuffers:
    case number::vkResetCommandPool:
    case number::vkTrimCommandPool:
    case number::vkDestroyCommandPool:
    case number::vkFreeDescriptorSets:
    case number::vkResetDescriptorPool:
    case number::vkDestroyDescriptorPool:
      return Scheduling::kPool;
    case number::vkSetDebugUtilsObjectNameEXT:
    case number::vkSetDebugUtilsObjectTagEXT:
      return Scheduling::kName;
    case number::vkGetRayTracingShaderGroupHandlesKHR:
    case number::vkGetRayTracingShaderGroupStackSizeKHR:
    case number::vkGetPipelineExecutablePropertiesKHR:
    case number::vkGetPipelineExecutableStatisticsKHR:
    case number::vkGetPipelineExecutableInternalRepresentationsKHR:
    case number::vkGetPipelinePropertiesEXT:
    case number::vkGetShaderInfoAMD:
    case number::vkGetShaderBinaryDataEXT:
    case number::vkGetShaderModuleIdentifierEXT:
      return Scheduling::kQuestion;
    case number::vkDestroyDevice:
      return Scheduling::kStream;
    default: {
      if (BelongsTo(record, proto::HandleType::kQueue)) {
        return Scheduling::kQueue;
      }
      const auto consumes = [](const proto::Op& op) { return (op.flags & proto::kConsumed) != 0; };
      return std::any_of(record.ops.begin(), record.ops.end(), consumes) ? Scheduling::kDestruction
                                                                         : Scheduling::kStream;
    }
  }
}

std::vector<TaskPool::Need> Session::NeedsOf(Scheduling scheduling) {
  std::vector<TaskPool::Need> needs;
  const uint16_t command = stream_.record->number;
  const std::vector<proto::ObjectId>& consumed = stream_.decoder.consumed_ids();
  for (const proto::ObjectId id : stream_.resolver.named()) {
    if (scheduling == Scheduling::kQueue) {
      AddNeedOfQueue(id, needs);
      continue;
    }
    if (Is(id, proto::HandleType::kDevice)) {
      continue;  // this thread alone destroys it
    }
    const bool is_pool =
        scheduling == Scheduling::kPool &&
        (Is(id, proto::HandleType::kCommandPool) || Is(id, proto::HandleType::kDescriptorPool));
    const bool is_consumed = std::find(consumed.begin(), consumed.end(), id) != consumed.end();
    if (is_pool || is_consumed || scheduling == Scheduling::kName ||
        (IsChanged(command, id) && !MayChangeWhileBound(id))) {
      needs.push_back(Exclusive(id));
    } else {
      needs.push_back(Shared(id));
    }
    if (command == number::vkResetCommandPool || command == number::vkDestroyCommandPool) {
      needs.push_back(Exclusive(SubmissionsOf(id)));
    }
  }
  for (const proto::ObjectId id : stream_.decoder.new_ids()) {
    needs.push_back(Exclusive(id));
  }
  if (scheduling == Scheduling::kDestruction) {
    needs.push_back(Exclusive(kDestructions));
  }
  if (command == number::vkResetDescriptorPool || command == number::vkDestroyDescriptorPool) {
    for (const proto::ObjectId set : ChildrenOf(proto::LoadField<uint64_t>(stream_.args, 8))) {
      needs.push_back(Exclusive(set));
    }
  }
  if (const auto pool = pool_of_.find(stream_.recorded_into); pool != pool_of_.end()) {
    needs.push_back(Exclusive(pool->second));
  }
  return needs;
}

void Session::AddNeedOfQueue(proto::ObjectId id, std::vector<TaskPool::Need>& needs) const {
  switch (static_cast<proto::HandleType>(proto::ObjectTypeByte(id))) {
    case proto::HandleType::kDevice:
      break;
    case proto::HandleType::kQueue:
      needs.push_back(Exclusive(id));
      break;
    case proto::HandleType::kSemaphore: {
      HostDevice* device = stream_.resolver.device();
      const auto semaphore = reinterpret_cast<VkSemaphore>(objects_.Handle(id));
      needs.push_back({id, device == nullptr || !device->IsTimeline(semaphore)});
      break;
    }
    case proto::HandleType::kCommandBuffer:
      needs.push_back(Shared(id));
      if (const auto pool = pool_of_.find(id); pool != pool_of_.end()) {
        needs.push_back(Shared(SubmissionsOf(pool->second)));
      }
      break;
    default:
      needs.push_back(Shared(id));
      break;
  }
}

bool Session::MayChangeWhileBound(proto::ObjectId id) const {
  HostDevice* device = stream_.resolver.device();
  return Is(id, proto::HandleType::kDescriptorSet) && device != nullptr &&
         device->descriptors().MayChangeWhileBound(
             reinterpret_cast<VkDescriptorSet>(objects_.Handle(id)));
}

void Session::WaitForDestructions() { tasks_.Wait(kDestructions, true); }

void Session::WaitFor(const std::vector<TaskPool::Need>& needs) {
  for (const TaskPool::Need& need : needs) {
    tasks_.Wait(need.key, need.exclusive);
  }
}

bool Session::Execute(const proto::Command& command, std::string* error) {
  stream_.resolver.SetCollecting(tasks_.has_threads() || observer_ != nullptr);
  if (!tasks_.has_threads()) {
    return Decode(stream_, command, error) && Perform(stream_, command, error);
  }
  if (command.number == number::vkDestroyDevice) {
    tasks_.WaitForAll();
  }
  const bool was_idle = tasks_.IsIdle();
  const uint64_t breaks = objects_.breaks();
  if (!Decode(stream_, command, error)) {
    return false;
  }
  const Scheduling scheduling = SchedulingOf(*stream_.record);
  const HostDevice* const device = stream_.resolver.device();
  const bool may_block = scheduling == Scheduling::kQueue && device != nullptr &&
                         device->physical().BlocksInSubmissions();
  if (was_idle &&
      (scheduling == Scheduling::kStream || (scheduling == Scheduling::kQueue && !may_block))) {
    return Perform(stream_, command, error);
  }
  std::vector<TaskPool::Need> needs = NeedsOf(scheduling);
  const bool blocks = may_block && std::any_of(needs.begin(), needs.end(), [](const auto& need) {
                        return need.exclusive && Is(need.key, proto::HandleType::kSemaphore);
                      });
  const bool after_replays = scheduling == Scheduling::kDestruction;
  bool waits = tasks_.WouldWait(needs, after_replays);
  // Even if it need not wait any more, the task may have ended since the command was decoded, and
  // have made or broken what it names.
  if (waits ? scheduling == Scheduling::kStream || !stream_.is_available
            : !was_idle && (stream_.resolver.has_absent() || objects_.breaks() != breaks)) {
    WaitFor(needs);
    if (!Decode(stream_, command, error)) {
      return false;
    }
    waits = tasks_.WouldWait(needs, after_replays);
  }
  if (stream_.is_available) {
    FollowCommandBuffers(command.number);
    if (scheduling == Scheduling::kCompilation || scheduling == Scheduling::kCopy || blocks ||
        (waits && scheduling != Scheduling::kStream)) {
      const TaskPool::Kind kind = scheduling == Scheduling::kCompilation ? TaskPool::Kind::kLong
                                  : blocks                               ? TaskPool::Kind::kBlocking
                                                                         : TaskPool::Kind::kOther;
      if (!Defer(command, kind, after_replays, std::move(needs))) {
        *error = std::string("expected new object ids in ") + stream_.record->name +
                 ", got malformed ones";
        return false;
      }
      return true;
    }
  }
  return Perform(stream_, command, error);
}

bool Session::Defer(const proto::Command& command, TaskPool::Kind kind, bool after_replays,
                    std::vector<TaskPool::Need> needs) {
  const uint64_t place = tasks_.next_place();
  for (const proto::ObjectId id : stream_.decoder.new_ids()) {
    if (!objects_.AddPending(id, stream_.resolver.device(), place)) {
      return false;
    }
  }
  for (const proto::ObjectId id : stream_.decoder.consumed_ids()) {
    objects_.SetDying(id, place);
  }
  if (command.number == number::vkResetDescriptorPool ||
      command.number == number::vkDestroyDescriptorPool ||
      command.number == number::vkDestroyCommandPool) {
    for (const proto::ObjectId id : ChildrenOf(proto::LoadField<uint64_t>(stream_.args, 8))) {
      objects_.SetDying(id, place);
    }
  }
  TaskPool::Task task;
  task.kind = kind;
  task.needs = std::move(needs);
  task.after_replays = after_replays;
  task.bytes = command.body.size();
  task.run = [this, place, position = stream_.position, later = command,
              body = std::vector<std::byte>(command.body.begin(), command.body.end())]() mutable
      -> std::optional<TaskPool::Key> {
    if (has_failed_.load()) {
      return std::nullopt;
    }
    later.body = body;
    std::unique_ptr<Context> context = TakeContext(place);
    context->position = position;
    std::string error;
    std::optional<TaskPool::Key> wanted;
    if (!Decode(*context, later, &error)) {
      Fail(error);
    } else if (context->resolver.pending() != 0) {
      wanted = context->resolver.pending();
    } else if (!Perform(*context, later, &error)) {
      Fail(error);
    }
    GiveContext(std::move(context));
    return wanted;
  };
  tasks_.Post(std::move(task));
  return true;
}

void Session::FollowCommandBuffers(uint16_t command) {
  switch (command) {
    case number::vkAllocateCommandBuffers:
      for (const proto::ObjectId pool : stream_.resolver.named()) {
        if (Is(pool, proto::HandleType::kCommandPool)) {
          for (const proto::ObjectId id : stream_.decoder.new_ids()) {
            pool_of_[id] = pool;
            buffers_of_[pool].insert(id);
          }
        }
      }
      break;
    case number::vkFreeCommandBuffers:
      for (const proto::ObjectId id : stream_.decoder.consumed_ids()) {
        if (const auto found = pool_of_.find(id); found != pool_of_.end()) {
          buffers_of_[found->second].erase(id);
          pool_of_.erase(found);
        }
      }
      break;
    case number::vkDestroyCommandPool:
      for (const proto::ObjectId pool : stream_.decoder.consumed_ids()) {
        for (const proto::ObjectId id : buffers_of_[pool]) {
          pool_of_.erase(id);
        }
        buffers_of_.erase(pool);
      }
      break;
    default:
      break;
  }
}

// -- replay ---------------------------------------------------------------------------------------

void Session::ClassifyCommands(const std::vector<bool>& known) {
  classes_.assign(known.size(), {});
  for (size_t i = 0; i < known.size(); ++i) {
    const auto command = static_cast<uint16_t>(i);
    const proto::Record* const record = proto::CommandRecord(command);
    const HostCommand* const host = FindHostCommand(command);
    if (!known[i] || record == nullptr || host == nullptr || !host->from_guest) {
      continue;
    }
    CommandClass& one = classes_[i];
    one.is_allowed = true;
    one.is_recorded = BelongsTo(*record, proto::HandleType::kCommandBuffer);
    // Those that begin, end or reset a recording may fail.
    one.is_plain = one.is_recorded && host->on_device != nullptr && host->result_offset == 0;
    one.names_more = command == number::vkCmdBindDescriptorSets ||
                     command == number::vkCmdBindDescriptorSets2 ||
                     command == number::vkCmdExecuteCommands;
  }
}

bool Session::Collect(const proto::Command& command) {
  const CommandClass command_class = ClassOf(command.number);
  if (!command_class.is_recorded || command.flags != 0 || !tasks_.has_threads() ||
      command.body.size() < 8) {
    return false;
  }
  const auto buffer = proto::LoadField<proto::ObjectId>(command.body.data(), 0);
  if (buffer == 0) {
    return false;
  }
  if (collected_ != nullptr && collected_->buffer != buffer) {
    PostReplay();
  }
  const std::byte* const begin = command.body.data() - proto::kCommandHeaderBytes;
  if (collected_ == nullptr) {
    const auto pool = pool_of_.find(buffer);
    if (pool == pool_of_.end()) {
      return false;  // none that was ever made
    }
    collected_ = std::make_unique<RecordedRun>();
    collected_->buffer = buffer;
    collected_->pool = pool->second;
    collected_->received = {begin, size_t{0}};
    collected_->position = stream_.position - 1;
  }
  RecordedRun& run = *collected_;
  run.received = {
      run.received.data(),
      static_cast<size_t>(command.body.data() + command.body.size() - run.received.data())};
  if (!command_class.names_more) {
    return true;
  }
  std::string ignored;  // the replay says it again
  if (Decode(scanner_, command, &ignored)) {
    for (const proto::ObjectId id : scanner_.resolver.named()) {
      if (Is(id, proto::HandleType::kDescriptorSet)) {
        run.needs.push_back(Shared(id));
      } else if (const auto pool = pool_of_.find(id); pool != pool_of_.end()) {
        run.needs.push_back(Exclusive(pool->second));
      }
    }
  }
  return true;
}

void Session::PostReplay() {
  if (collected_ == nullptr) {
    return;
  }
  const std::shared_ptr<RecordedRun> run = std::move(collected_);
  run->bytes.assign(run->received.begin(), run->received.end());
  run->walker = proto::CommandWalker(run->bytes);
  run->place = tasks_.next_place();
  TaskPool::Task task;
  task.kind = TaskPool::Kind::kReplay;
  task.needs = std::move(run->needs);
  task.needs.push_back(Exclusive(run->pool));
  task.needs.push_back(Exclusive(run->buffer));
  // Each key once, exclusively if anything wants it so.
  const auto before = [](const TaskPool::Need& a, const TaskPool::Need& b) {
    return a.key != b.key ? a.key < b.key : a.exclusive && !b.exclusive;
  };
  const auto same = [](const TaskPool::Need& a, const TaskPool::Need& b) { return a.key == b.key; };
  std::sort(task.needs.begin(), task.needs.end(), before);
  task.needs.erase(std::unique(task.needs.begin(), task.needs.end(), same), task.needs.end());
  task.bytes = run->bytes.size();
  task.run = [this, run] { return Replay(*run); };
  tasks_.Post(std::move(task));
}

std::optional<TaskPool::Key> Session::Replay(RecordedRun& run) {
  std::unique_ptr<Context> context = TakeContext(run.place);
  std::optional<TaskPool::Key> wanted;
  std::string error;
  while (!has_failed_.load(std::memory_order_relaxed)) {
    const proto::CommandWalker here = run.walker;
    const std::optional<proto::Command> command = run.walker.Next();
    if (!command) {
      break;
    }
    context->position = ++run.position;
    if (!Decode(*context, *command, &error)) {
      Fail(error);
    } else if (context->resolver.pending() != 0) {
      wanted = context->resolver.pending();
      run.walker = here;
      --run.position;
      break;
    } else if (!PerformRecorded(*context, *command, &error)) {
      Fail(error);
    }
  }
  GiveContext(std::move(context));
  return wanted;
}

bool Session::PerformRecorded(Context& context, const proto::Command& command, std::string* error) {
  HostDevice* const device = context.resolver.device();
  if (!context.is_available || device == nullptr || observer_ != nullptr ||
      !ClassOf(command.number).is_plain) {
    return Perform(context, command, error);
  }
  const HostCommand& host = *FindHostCommand(command.number);
  if (host.writes != Writes::kNothing) {
    RecordedWrites& writes = device->recorded_writes();
    if (context.recording == nullptr) {
      context.recording = &writes.RecordingOf(proto::LoadField<VkCommandBuffer>(context.args, 0));
    }
    writes.Note(command.number, host.writes, context.args, *context.recording);
  }
  host.on_device(device->table(), context.args);
  return true;
}

std::unique_ptr<Session::Context> Session::TakeContext(uint64_t place) {
  std::unique_ptr<Context> context;
  {
    const std::lock_guard lock(tasks_mutex_);
    if (!contexts_.empty()) {
      context = std::move(contexts_.back());
      contexts_.pop_back();
    }
  }
  if (context == nullptr) {
    context = std::make_unique<Context>(objects_);
    context->resolver.SetCollecting(observer_ != nullptr);
  }
  context->resolver.SetPlace(place);
  context->recording = nullptr;
  return context;
}

void Session::GiveContext(std::unique_ptr<Context> context) {
  context->arena.Reset();
  const std::lock_guard lock(tasks_mutex_);
  contexts_.push_back(std::move(context));
}

void Session::Fail(const std::string& error) {
  {
    const std::lock_guard lock(tasks_mutex_);
    if (has_failed_.exchange(true)) {
      return;
    }
    failure_ = error;
  }
  if (failure_handler_) {
    failure_handler_(error);
  }
}

}  // namespace vesper::server
