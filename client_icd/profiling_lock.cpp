// SPDX-License-Identifier: Apache-2.0
//
// The profiling lock of VK_KHR_performance_query, which processes on the host share. Waiting for it
// there would hold up the stream, so the host only ever tries, and the guest tries again until the
// program's time is up.
#include <algorithm>
#include <chrono>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/wait.h"
#include "proto/records_gen.h"

namespace vesper::client::entry {

VKAPI_ATTR VkResult VKAPI_CALL
vkAcquireProfilingLockKHR(VkDevice device, const VkAcquireProfilingLockInfoKHR* pInfo) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kShortest{1};
  constexpr std::chrono::milliseconds kLongest{50};
  Device& owner = Device::From(device);
  const Clock::time_point deadline = Deadline(pInfo->timeout);
  VkAcquireProfilingLockInfoKHR info = *pInfo;
  info.timeout = 0;
  for (std::chrono::milliseconds pause = kShortest;; pause = std::min(pause * 2, kLongest)) {
    proto::Args_vkAcquireProfilingLockKHR args{device, &info};
    const VkResult result = CallResult(owner, proto::command_number::vkAcquireProfilingLockKHR,
                                       &args, &args.ret, kHostMemory);
    const Clock::time_point now = Clock::now();
    if (result != VK_TIMEOUT || now >= deadline) {
      return result;
    }
    // Nothing tells when another process lets go of it; only the device's loss ends the pause.
    Session& session = owner.session();
    std::unique_lock lock(session.progress_mutex());
    session.WaitForProgress(lock, std::min(deadline, now + pause), [&] { return owner.IsLost(); });
  }
}

VKAPI_ATTR void VKAPI_CALL vkReleaseProfilingLockKHR(VkDevice device) {
  Session& session = Device::From(device).session();
  const proto::Args_vkReleaseProfilingLockKHR args{device};
  session.Post(proto::command_number::vkReleaseProfilingLockKHR, &args);
  session.Flush();  // others may wait for it
}

}  // namespace vesper::client::entry
