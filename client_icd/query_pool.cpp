// SPDX-License-Identifier: Apache-2.0
//
// VkQueryPool. Results of a pool that the program reads are pushed (pushed_queries.h). Asking for
// what is not known is a call, but never one that waits on the host: the stream must not stand
// still. VK_QUERY_RESULT_WAIT_BIT is taken out, and the guest asks again when progress has come.
#include <algorithm>
#include <chrono>
#include <optional>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/queue.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

namespace command = proto::command_number;

/// The results, if they are known.
std::optional<VkResult> GetPushed(Device& device, VkQueryPool pool, uint32_t first, uint32_t count,
                                  void* data, VkDeviceSize stride, VkQueryResultFlags flags) {
  Session& session = device.session();
  if (!session.Pushes(kPushQueries) || device.IsLost()) {
    return std::nullopt;
  }
  const bool is_idle = device.IsIdle();  // before results are looked at: they come first
  bool has_news = false;
  const std::optional<VkResult> result =
      session.pushed_queries().Get(ToId(pool), first, count, data, stride, flags, is_idle, [&] {
        const proto::Args_vesperLookAtQueries args{device.handle(), ToId(pool), first, count};
        session.Enqueue(command::vesperLookAtQueries, &args);
        has_news = true;
      });
  if (result.has_value()) {
    session.statistics().NoteAnswer(command::vkGetQueryPoolResults);
    if (has_news || (result == VK_NOT_READY && session.Queued() != 0)) {
      session.Flush();  // who polls must see what was submitted come to its end
    }
    return result;
  }
  session.pushed_queries().Watch(ToId(pool), [&] {
    const proto::Args_vesperWatchQueries args{device.handle(), ToId(pool)};
    session.Enqueue(command::vesperWatchQueries, &args);
  });
  return std::nullopt;
}

}  // namespace

namespace entry {

VKAPI_ATTR void VKAPI_CALL vkDestroyQueryPool(VkDevice device, VkQueryPool queryPool,
                                              const VkAllocationCallbacks*) {
  Device& owner = Device::From(device);
  owner.session().pushed_queries().Forget(ToId(queryPool));
  const proto::Args_vkDestroyQueryPool args{device, queryPool, nullptr};
  DestroyObject(owner, command::vkDestroyQueryPool, &args, proto::HandleType::kQueryPool,
                queryPool);
}

VKAPI_ATTR void VKAPI_CALL vkResetQueryPool(VkDevice device, VkQueryPool queryPool,
                                            uint32_t firstQuery, uint32_t queryCount) {
  Session& session = Device::From(device).session();
  const proto::Args_vkResetQueryPool args{device, queryPool, firstQuery, queryCount};
  if (!session.Pushes(kPushQueries)) {
    session.Post(command::vkResetQueryPool, &args);
    return;
  }
  session.pushed_queries().Reset(ToId(queryPool), firstQuery, queryCount,
                                 [&] { session.Enqueue(command::vkResetQueryPool, &args); });
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetQueryPoolResults(VkDevice device, VkQueryPool queryPool,
                                                     uint32_t firstQuery, uint32_t queryCount,
                                                     size_t dataSize, void* pData,
                                                     VkDeviceSize stride,
                                                     VkQueryResultFlags flags) {
  Device& owner = Device::From(device);
  const VkQueryResultFlags asked = flags;
  const bool wait = (flags & VK_QUERY_RESULT_WAIT_BIT) != 0;
  if (wait) {
    // Without both bits the answer is VK_NOT_READY until everything is there.
    flags &=
        ~static_cast<VkQueryResultFlags>(VK_QUERY_RESULT_WAIT_BIT | VK_QUERY_RESULT_PARTIAL_BIT);
  }
  // Results may be there before the batch that ends later queries is done, which no progress tells:
  // ask again after a while in any case.
  constexpr std::chrono::microseconds kShortest{50};
  constexpr std::chrono::microseconds kLongest{5000};
  std::chrono::microseconds pause = kShortest;
  for (;;) {
    if (const std::optional<VkResult> known =
            GetPushed(owner, queryPool, firstQuery, queryCount, pData, stride, asked)) {
      return *known;
    }
    proto::Args_vkGetQueryPoolResults args{device,   queryPool, firstQuery, queryCount,
                                           dataSize, pData,     stride,     flags};
    const VkResult result = CallResult(owner, command::vkGetQueryPoolResults, &args, &args.ret,
                                       kHostMemory | kDeviceMemory | kDeviceLost);
    if (!wait || result != VK_NOT_READY) {
      return result;
    }
    Session& session = owner.session();
    std::unique_lock lock(session.progress_mutex());
    uint64_t before = 0;
    for (const auto& queue : owner.queues()) {
      before += queue->progress()->reached.load();
    }
    session.WaitForProgress(lock, std::chrono::steady_clock::now() + pause, [&] {
      uint64_t now = 0;
      for (const auto& queue : owner.queues()) {
        now += queue->progress()->reached.load();
      }
      return now != before || owner.IsLost();
    });
    pause = std::min(pause * 2, kLongest);
  }
}

}  // namespace entry
}  // namespace vesper::client
