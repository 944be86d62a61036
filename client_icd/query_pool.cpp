// SPDX-License-Identifier: Apache-2.0
//
// VkQueryPool. Asking for results is a call, but never one that waits on the host: the stream must
// not stand still. VK_QUERY_RESULT_WAIT_BIT is taken out, and the guest asks again when progress
// has come.
#include <algorithm>
#include <chrono>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/queue.h"
#include "proto/records_gen.h"

namespace vesper::client::entry {

VKAPI_ATTR VkResult VKAPI_CALL vkGetQueryPoolResults(VkDevice device, VkQueryPool queryPool,
                                                     uint32_t firstQuery, uint32_t queryCount,
                                                     size_t dataSize, void* pData,
                                                     VkDeviceSize stride,
                                                     VkQueryResultFlags flags) {
  Device& owner = Device::From(device);
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
    proto::Args_vkGetQueryPoolResults args{device,   queryPool, firstQuery, queryCount,
                                           dataSize, pData,     stride,     flags};
    const VkResult result = CallResult(owner, proto::command_number::vkGetQueryPoolResults, &args,
                                       &args.ret, kHostMemory | kDeviceMemory | kDeviceLost);
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

}  // namespace vesper::client::entry
