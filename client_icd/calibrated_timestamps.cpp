// SPDX-License-Identifier: Apache-2.0
//
// Calibrated timestamps. The device's clock is the host's to read, the system's clocks are the
// guest's: what the host's clocks say means nothing here and never travels. Each clock of the guest
// is read before the device's clock is asked for and again after the answer, so the device was read
// in between. The middle is reported, and the whole time in between is part of the deviation, next
// to what the driver says of its own.
#include <time.h>

#include <algorithm>
#include <vector>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/physical_device.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

/// What a clock's last tick may be late by (nanoseconds): both clocks below count single ones.
constexpr uint64_t kClockPeriod = 1;

/// True for the clocks of the system that are read here.
bool IsGuestClock(VkTimeDomainKHR domain) {
  return domain == VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR ||
         domain == VK_TIME_DOMAIN_CLOCK_MONOTONIC_RAW_KHR;
}

/// Nanoseconds.
uint64_t ReadClock(VkTimeDomainKHR domain) {
  timespec now{};
  ::clock_gettime(
      domain == VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR ? CLOCK_MONOTONIC : CLOCK_MONOTONIC_RAW, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceCalibrateableTimeDomainsKHR(
    VkPhysicalDevice physicalDevice, uint32_t* pTimeDomainCount, VkTimeDomainKHR* pTimeDomains) {
  PhysicalDevice& owner = PhysicalDevice::From(physicalDevice);
  constexpr uint32_t kErrors = kHostMemory | kDeviceMemory;
  uint32_t count = 0;
  proto::Args_vkGetPhysicalDeviceCalibrateableTimeDomainsKHR args{physicalDevice, &count, nullptr};
  const uint16_t number = proto::command_number::vkGetPhysicalDeviceCalibrateableTimeDomainsKHR;
  VkResult result = CallResult(owner, number, &args, &args.ret, kErrors);
  std::vector<VkTimeDomainKHR> domains(result < 0 ? 0 : count);
  if (!domains.empty()) {
    args.pTimeDomains = domains.data();
    result = CallResult(owner, number, &args, &args.ret, kErrors);
    domains.resize(result < 0 ? 0 : std::min<size_t>(count, domains.size()));
  }
  if (result < 0) {
    return result;
  }
  std::erase_if(domains, [](VkTimeDomainKHR domain) {
    return domain != VK_TIME_DOMAIN_DEVICE_KHR && !IsGuestClock(domain);
  });
  return CopyOut(domains, pTimeDomainCount, pTimeDomains);
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetCalibratedTimestampsKHR(
    VkDevice device, uint32_t timestampCount, const VkCalibratedTimestampInfoKHR* pTimestampInfos,
    uint64_t* pTimestamps, uint64_t* pMaxDeviation) {
  std::vector<uint64_t> before(timestampCount);
  bool wants_device = false;
  for (uint32_t i = 0; i < timestampCount; ++i) {
    if (IsGuestClock(pTimestampInfos[i].timeDomain)) {
      before[i] = ReadClock(pTimestampInfos[i].timeDomain);
    } else {
      wants_device = true;
    }
  }
  uint64_t device_time = 0;
  uint64_t device_deviation = 0;
  if (wants_device) {
    const VkCalibratedTimestampInfoKHR info{VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_KHR,
                                            nullptr, VK_TIME_DOMAIN_DEVICE_KHR};
    proto::Args_vkGetCalibratedTimestampsKHR args{device, 1, &info, &device_time,
                                                  &device_deviation};
    const VkResult result =
        CallResult(Device::From(device), proto::command_number::vkGetCalibratedTimestampsKHR, &args,
                   &args.ret, kHostMemory | kDeviceMemory);
    if (result != VK_SUCCESS) {
      return result;
    }
  }
  // In the opposite order: there is an instant that lies between the two readings of every clock.
  uint64_t widest = 0;
  for (uint32_t i = timestampCount; i-- > 0;) {
    if (!IsGuestClock(pTimestampInfos[i].timeDomain)) {
      pTimestamps[i] = device_time;
      continue;
    }
    const uint64_t passed = ReadClock(pTimestampInfos[i].timeDomain) - before[i];
    pTimestamps[i] = before[i] + passed / 2;
    widest = std::max(widest, passed);
  }
  *pMaxDeviation = device_deviation + widest + kClockPeriod;
  return VK_SUCCESS;
}

}  // namespace entry
}  // namespace vesper::client
