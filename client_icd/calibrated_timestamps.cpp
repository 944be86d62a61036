// SPDX-License-Identifier: Apache-2.0
//
// Calibrated timestamps. The device's clock is the host's to read, the system's clocks are the
// guest's: what the host's clocks say means nothing here and never travels. Each clock of the guest
// is read before the device's clock is asked for and again after the answer, so the device was read
// in between. The middle is reported, and the whole time in between is part of the deviation, next
// to what is said of the device's clock: by the driver if it was called, and else by what is known
// of the clock (calibration.h).
#include <time.h>

#include <algorithm>
#include <vector>

#include "client_icd/calibration.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/physical_device.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

/// What a clock's last tick may be late by (nanoseconds): both clocks below count single ones.
constexpr uint64_t kClockPeriod = 1;

constexpr VkCalibratedTimestampInfoKHR kDeviceClock{VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_KHR,
                                                    nullptr, VK_TIME_DOMAIN_DEVICE_KHR};
constexpr uint16_t kCommand = proto::command_number::vkGetCalibratedTimestampsKHR;

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

uint64_t Now() { return ReadClock(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR); }

bool CanExtrapolate(const proto::PhysicalDeviceSnapshot& device) {
  return device.properties->properties.limits.timestampPeriod > 0 &&
         std::ranges::all_of(device.queue_families, [](const VkQueueFamilyProperties2* family) {
           const uint32_t bits = family->queueFamilyProperties.timestampValidBits;
           return bits == 0 || bits == 64;
         });
}

}  // namespace

Calibration::Calibration(Device& device)
    : device_(device),
      is_possible_(CanExtrapolate(device.physical_device().snapshot())),
      clock_(device.physical_device().snapshot().properties->properties.limits.timestampPeriod) {}

VkResult Calibration::Call(DeviceClock::Reading* reading) {
  proto::Args_vkGetCalibratedTimestampsKHR args{device_.handle(), 1, &kDeviceClock, &reading->ticks,
                                                &reading->deviation};
  reading->before = Now();
  const VkResult result =
      CallResult(device_, kCommand, &args, &args.ret, kHostMemory | kDeviceMemory);
  reading->after = Now();
  return result;
}

void Calibration::Ask(uint64_t now) {
  uint64_t ticks = 0;
  uint64_t deviation = 0;
  const proto::Args_vkGetCalibratedTimestampsKHR args{device_.handle(), 1, &kDeviceClock, &ticks,
                                                      &deviation};
  clock_.NoteAsked(now);
  asked_at_ = now;
  question_ = device_.session().AskAhead(kCommand, &args);
  device_.session().Flush();
}

void Calibration::TakeNews() {
  if (question_ == nullptr || !device_.session().IsAnswered(*question_)) {
    return;
  }
  DeviceClock::Reading reading{asked_at_, question_->answered_at(), 0, 0};
  proto::Args_vkGetCalibratedTimestampsKHR args{device_.handle(), 1, &kDeviceClock, &reading.ticks,
                                                &reading.deviation};
  args.ret = VK_ERROR_UNKNOWN;
  if (device_.session().TakeAnswer(*question_, &args) && args.ret == VK_SUCCESS) {
    clock_.Add(reading);
  }
  question_.reset();
}

VkResult Calibration::Get(DeviceClock::Estimate* estimate) {
  DeviceClock::Reading reading;
  if (!is_possible_ || !device_.session().Pushes(kPushTimestamps)) {
    const VkResult result = Call(&reading);
    *estimate = {reading.ticks, reading.deviation};
    return result;
  }
  const std::lock_guard lock(mutex_);
  if (device_.IsLost()) {
    return VK_ERROR_DEVICE_LOST;
  }
  TakeNews();
  const uint64_t now = Now();
  if (const std::optional<DeviceClock::Estimate> known = clock_.At(now)) {
    *estimate = *known;
    if (question_ == nullptr && clock_.IsAskedNext(now)) {
      Ask(now);
    }
  } else {
    clock_.NoteAsked(now);
    if (const VkResult result = Call(&reading); result != VK_SUCCESS) {
      return result;
    }
    clock_.Add(reading);
    *estimate = {reading.ticks, reading.deviation};
  }
  if (clock_.IsSteady() && static_cast<int64_t>(last_.ticks - estimate->ticks) > 0) {
    // What was told last was true then to its deviation, and is behind the truth by no more now.
    *estimate = {last_.ticks, std::max(last_.deviation, estimate->deviation)};
  }
  last_ = *estimate;
  return VK_SUCCESS;
}

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
  DeviceClock::Estimate shown;
  if (wants_device) {
    const VkResult result = Device::From(device).calibration().Get(&shown);
    if (result != VK_SUCCESS) {
      return result;
    }
  }
  // In the opposite order: there is an instant that lies between the two readings of every clock.
  uint64_t widest = 0;
  for (uint32_t i = timestampCount; i-- > 0;) {
    if (!IsGuestClock(pTimestampInfos[i].timeDomain)) {
      pTimestamps[i] = shown.ticks;
      continue;
    }
    const uint64_t passed = ReadClock(pTimestampInfos[i].timeDomain) - before[i];
    pTimestamps[i] = before[i] + passed / 2;
    widest = std::max(widest, passed);
  }
  *pMaxDeviation = shown.deviation + widest + kClockPeriod;
  return VK_SUCCESS;
}

}  // namespace entry
}  // namespace vesper::client
