// SPDX-License-Identifier: Apache-2.0
// The device's clock beside those of the program's own system.
#include <stdlib.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

uint64_t Now(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Both names of the extension have the same commands.
class CalibratedTimestampsTest : public VulkanTest {
 protected:
  void Configure(GpuOptions& options) override {
    for (const char* name : {"VK_KHR_calibrated_timestamps", "VK_EXT_calibrated_timestamps"}) {
      if (HasDeviceExtension(name) && suffix_.empty()) {
        options.device_extensions.push_back(name);
        suffix_ = std::string(name).substr(3, 3);
      }
    }
  }

  void SetUp() override {
    VulkanTest::SetUp();
    VESPER_REQUIRE(!suffix_.empty());  // neither of the two extensions
    const std::string domains = "vkGetPhysicalDeviceCalibrateableTimeDomains" + suffix_;
    get_domains_ = reinterpret_cast<PFN_vkGetPhysicalDeviceCalibrateableTimeDomainsKHR>(
        vk.GetInstanceProcAddr(instance, domains.c_str()));
    const std::string timestamps = "vkGetCalibratedTimestamps" + suffix_;
    get_ = vk.Find<PFN_vkGetCalibratedTimestampsKHR>(device, timestamps.c_str());
    ASSERT_NE(get_domains_, nullptr);
    ASSERT_NE(get_, nullptr);
    uint32_t count = 0;
    VESPER_CHECK(get_domains_(physical_device, &count, nullptr));
    domains_.resize(count);
    VESPER_CHECK(get_domains_(physical_device, &count, domains_.data()));
  }

  bool Has(VkTimeDomainKHR domain) const {
    return std::find(domains_.begin(), domains_.end(), domain) != domains_.end();
  }

  struct Calibration {
    uint64_t device_ticks = 0;
    uint64_t system_ns = 0;
    uint64_t deviation_ns = 0;
    uint64_t call_ns = 0;  // how long the call took
  };

  Calibration Calibrate(VkTimeDomainKHR domain, clockid_t clock) {
    const VkCalibratedTimestampInfoKHR infos[] = {
        {VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_KHR, nullptr, VK_TIME_DOMAIN_DEVICE_KHR},
        {VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_KHR, nullptr, domain}};
    std::array<uint64_t, 2> times{};
    Calibration made;
    const uint64_t before = Now(clock);
    EXPECT_EQ(VK_SUCCESS, get_(device, 2, infos, times.data(), &made.deviation_ns));
    const uint64_t after = Now(clock);
    EXPECT_GE(times[1], before);
    EXPECT_LE(times[1], after);
    EXPECT_GT(made.deviation_ns, 0u);
    made.device_ticks = times[0];
    made.system_ns = times[1];
    made.call_ns = after - before;
    return made;
  }

  // Nanoseconds that the device's clock says have passed.
  double DeviceNs(const Calibration& first, const Calibration& second) const {
    const uint32_t bits = queue_families[queue_family].timestampValidBits;
    const uint64_t mask = bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
    const uint64_t ticks = (second.device_ticks - first.device_ticks) & mask;
    return static_cast<double>(ticks) * properties.limits().timestampPeriod;
  }

  void ExpectClocksToAgree(VkTimeDomainKHR domain, clockid_t clock) {
    VESPER_REQUIRE(Has(VK_TIME_DOMAIN_DEVICE_KHR) && Has(domain) &&
                   queue_families[queue_family].timestampValidBits > 0);
    const Calibration first = Calibrate(domain, clock);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const Calibration second = Calibrate(domain, clock);
    const double system = static_cast<double>(second.system_ns - first.system_ns);
    // Each calibration may be off by its deviation, and the clocks run apart by some parts in a
    // million: 500 are more than a crystal's.
    const double allowed =
        static_cast<double>(first.deviation_ns + second.deviation_ns) + system * 500e-6;
    EXPECT_LE(std::abs(DeviceNs(first, second) - system), allowed);
  }

  PFN_vkGetPhysicalDeviceCalibrateableTimeDomainsKHR get_domains_ = nullptr;
  PFN_vkGetCalibratedTimestampsKHR get_ = nullptr;
  std::vector<VkTimeDomainKHR> domains_;
  std::string suffix_;
};

TEST_F(CalibratedTimestampsTest, TimeDomains) {
  EXPECT_TRUE(Has(VK_TIME_DOMAIN_DEVICE_KHR));
  ASSERT_FALSE(domains_.empty());
  uint32_t count = static_cast<uint32_t>(domains_.size()) - 1;
  std::vector<VkTimeDomainKHR> fewer(domains_.size(), VK_TIME_DOMAIN_MAX_ENUM_KHR);
  EXPECT_EQ(VK_INCOMPLETE, get_domains_(physical_device, &count, fewer.data()));
  EXPECT_EQ(domains_.size() - 1, count);
  EXPECT_EQ(VK_TIME_DOMAIN_MAX_ENUM_KHR, fewer.back());
}

TEST_F(CalibratedTimestampsTest, MonotonicAndDevice) {
  ExpectClocksToAgree(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR, CLOCK_MONOTONIC);
}

TEST_F(CalibratedTimestampsTest, MonotonicRawAndDevice) {
  ExpectClocksToAgree(VK_TIME_DOMAIN_CLOCK_MONOTONIC_RAW_KHR, CLOCK_MONOTONIC_RAW);
}

// Each question is a call, and no value follows from an earlier one.
class CalledTimestampsTest : public CalibratedTimestampsTest {
 protected:
  void SetUp() override {
    setenv("VESPER_PUSH", "off", 1);
    CalibratedTimestampsTest::SetUp();
  }
  void TearDown() override {
    CalibratedTimestampsTest::TearDown();
    unsetenv("VESPER_PUSH");
  }
};

TEST_F(CalledTimestampsTest, TheDeviationIsNoMoreThanTheCallAndTheDrivers) {
  if (TestTarget::FromEnvironment().native) {
    GTEST_SKIP() << "What a driver says of its own deviation is its own affair.";
  }
  VESPER_REQUIRE(Has(VK_TIME_DOMAIN_DEVICE_KHR) && Has(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR));
  // The driver's own, as far as it can be had here: that of the device's clock alone.
  const VkCalibratedTimestampInfoKHR info{VK_STRUCTURE_TYPE_CALIBRATED_TIMESTAMP_INFO_KHR, nullptr,
                                          VK_TIME_DOMAIN_DEVICE_KHR};
  uint64_t time = 0;
  uint64_t drivers = 0;
  for (int i = 0; i < 20; ++i) {
    uint64_t deviation = 0;
    VESPER_CHECK(get_(device, 1, &info, &time, &deviation));
    drivers = std::max(drivers, deviation);
  }
  for (int i = 0; i < 20; ++i) {
    const Calibration made = Calibrate(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR, CLOCK_MONOTONIC);
    // A driver that is held up in the middle says more than usual, but no more than the call took.
    // It may round up to ticks of the device.
    const auto tick = static_cast<uint64_t>(std::ceil(properties.limits().timestampPeriod));
    EXPECT_LE(made.deviation_ns, 2 * made.call_ns + drivers + 2 * tick + 1);
  }
}

TEST_F(CalibratedTimestampsTest, QueriesLieBetweenCalibrations) {
  VESPER_REQUIRE(Has(VK_TIME_DOMAIN_DEVICE_KHR) && Has(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR) &&
                 queue_families[queue_family].timestampValidBits >= 64);
  VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = 1;
  const Owned<VkQueryPool> pool = Make(vk.CreateQueryPool, vk.DestroyQueryPool, info);
  vk.ResetQueryPool(device, pool, 0, 1);
  const Calibration before = Calibrate(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR, CLOCK_MONOTONIC);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 0);
  });
  const Calibration after = Calibrate(VK_TIME_DOMAIN_CLOCK_MONOTONIC_KHR, CLOCK_MONOTONIC);
  uint64_t ticks = 0;
  VESPER_CHECK(vk.GetQueryPoolResults(device, pool, 0, 1, sizeof(ticks), &ticks, sizeof(ticks),
                                      VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
  const auto in_ticks = [this](uint64_t nanoseconds) {
    return static_cast<uint64_t>(static_cast<float>(nanoseconds) /
                                 properties.limits().timestampPeriod) +
           1;
  };
  EXPECT_GE(ticks + in_ticks(before.deviation_ns), before.device_ticks);
  EXPECT_LE(ticks, after.device_ticks + in_ticks(after.deviation_ns));
}

}  // namespace
}  // namespace vesper::tests
