// SPDX-License-Identifier: Apache-2.0
// The device's clock, which programs ask for again and again: known without a call while they do.
#include <chrono>
#include <thread>

#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

constexpr std::chrono::milliseconds kDelay{20};  // each way

uint64_t Now() {
  return static_cast<uint64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}

class Timestamps : public WireTest {
 protected:
  // The device's clock is the system's, and ahead of it.
  void Start(std::chrono::milliseconds delay = kDelay) {
    mock_.On(number::vkGetCalibratedTimestampsKHR, [this](void* raw) {
      auto& args = *static_cast<proto::Args_vkGetCalibratedTimestampsKHR*>(raw);
      ++asked_;
      args.pTimestamps[0] = Now() + ahead_.load();
      *args.pMaxDeviation = 100;
      args.ret = VK_SUCCESS;
    });
    transport::Faults link;
    link.delay = delay;
    Open(link, link);
    ahead_ = 1'000'000'000;
  }
  struct Calibration {
    uint64_t device = 0;
    uint64_t system = 0;
    uint64_t deviation = 0;
  };
  Calibration Get() {
    const VkCalibratedTimestampInfoKHR infos[] = {
        {VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_KHR, nullptr, VK_TIME_DOMAIN_DEVICE_KHR},
        {VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_KHR, nullptr,
         VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR}};
    uint64_t times[2] = {};
    Calibration made;
    EXPECT_EQ(vk::vkGetCalibratedTimestampsKHR(device_, 2, infos, times, &made.deviation),
              VK_SUCCESS);
    made.device = times[0];
    made.system = times[1];
    return made;
  }
  void ExpectTrue(const Calibration& made, uint64_t ahead) const {
    const auto apart = static_cast<int64_t>(made.device - made.system - ahead);
    EXPECT_LE(static_cast<uint64_t>(std::abs(apart)), made.deviation);
  }

  std::atomic<uint64_t> ahead_{0};
  std::atomic<uint64_t> asked_{0};
};

TEST_F(Timestamps, WhoGoesOnAskingDoesNotWait) {
  Start();
  const uint64_t begin = Now();
  uint64_t last = 0;
  uint64_t count = 0;
  while (Now() < begin + 1'500'000'000) {
    const Calibration made = Get();
    ExpectTrue(made, ahead_);
    EXPECT_GE(made.deviation, 2 * 20'000'000u) << "less than the link makes certain";
    EXPECT_GE(made.device, last);
    last = made.device;
    ++count;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GE(asked_, 2u) << "the host is asked again, without anybody waiting";
  EXPECT_LT(asked_ * 4, count);
}

TEST_F(Timestamps, AClockThatWasSetIsNotFollowed) {
  Start();
  Get();
  ahead_ += 60'000'000'000;
  // It is found out by the next reading at the latest, which is asked for by then.
  const uint64_t begin = Now();
  while (Get().device < begin + 60'000'000'000 && Now() < begin + 60'000'000'000) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const uint64_t asked = asked_;
  for (int i = 0; i < 5; ++i) {
    ExpectTrue(Get(), ahead_);
  }
  EXPECT_EQ(asked_ - asked, 5u) << "each is a call";
}

TEST_F(Timestamps, SwitchedOffEachIsACall) {
  excluded_pushes_ |= client::kPushTimestamps;
  Start(std::chrono::milliseconds(1));
  for (int i = 0; i < 10; ++i) {
    ExpectTrue(Get(), ahead_);
  }
  EXPECT_EQ(asked_, 10u);
}

TEST_F(Timestamps, InSyncEachIsACall) {
  environment_.debug_sync = true;
  Start(std::chrono::milliseconds(1));
  for (int i = 0; i < 10; ++i) {
    ExpectTrue(Get(), ahead_);
  }
  EXPECT_EQ(asked_, 10u);
}

TEST_F(Timestamps, ALostDeviceHasNoClock) {
  Start();
  Get();
  host_->Kill();
  const VkCalibratedTimestampInfoKHR info{VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_KHR, nullptr,
                                          VK_TIME_DOMAIN_DEVICE_KHR};
  uint64_t time = 0;
  uint64_t deviation = 0;
  VkResult result = VK_SUCCESS;
  const uint64_t begin = Now();
  while (result == VK_SUCCESS && Now() < begin + 60'000'000'000) {
    result = vk::vkGetCalibratedTimestampsKHR(device_, 1, &info, &time, &deviation);
  }
  EXPECT_EQ(result, VK_ERROR_DEVICE_LOST);
}

}  // namespace
}  // namespace vesper::tests
