// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_VULKAN_TEST_H_
#define VESPER_TESTS_FRAMEWORK_VULKAN_TEST_H_

#include <gtest/gtest.h>

#include "tests/framework/gpu.h"
#include "tests/framework/resources.h"
#include "tests/framework/test_server.h"

namespace vesper::tests {

// A test on a device of its own. The members of Gpu are at hand in the test: `vk`, `device`,
// `queue`. A fixture that needs extensions says so in Configure.
class VulkanTest : public ::testing::Test, public Gpu {
 protected:
  // Called when the instance is there and the device is not: `device_extensions` is known.
  virtual void Configure(GpuOptions&) {}

  void SetUp() override {
    OpenInstance();
    GpuOptions options;
    Configure(options);
    OpenDevice(options);
  }

  // What helpers take.
  Gpu& gpu() { return *this; }
};

// A test about Vesper itself, which has nothing to look at on a native driver.
class VesperOnlyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    target_ = TestTarget::FromEnvironment();
    if (target_.native) {
      GTEST_SKIP() << "This is about Vesper, and the target is the native driver.";
    }
  }

  TestTarget target_;
};

}  // namespace vesper::tests

// Leaves the test when the driver lacks what it is about.
#define VESPER_REQUIRE(condition)                                                       \
  do {                                                                                  \
    if (!(condition)) {                                                                 \
      GTEST_SKIP() << "This driver does not offer what is tested here: " << #condition; \
    }                                                                                   \
  } while (false)

#endif  // VESPER_TESTS_FRAMEWORK_VULKAN_TEST_H_
