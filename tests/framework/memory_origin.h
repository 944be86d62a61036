// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_MEMORY_ORIGIN_H_
#define VESPER_TESTS_FRAMEWORK_MEMORY_ORIGIN_H_

#include <string>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {

// Whose pages the memory is that program and GPU share.
enum class MemoryOrigin {
  kAllocated,  // the driver's, mapped
  kImported,   // the program's own
};

inline std::string OriginName(const ::testing::TestParamInfo<MemoryOrigin>& info) {
  return info.param == MemoryOrigin::kImported ? "imported" : "allocated";
}

// A test that is tried with both.
class MemoryOriginTest : public VulkanTest, public ::testing::WithParamInterface<MemoryOrigin> {
 protected:
  void Configure(GpuOptions& options) override {
    can_import_ = HasDeviceExtension(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    if (can_import_) {
      options.device_extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    }
  }

  void SetUp() override {
    VulkanTest::SetUp();
    if (GetParam() == MemoryOrigin::kImported && !can_import_) {
      GTEST_SKIP() << "This driver does not offer " << VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    }
  }

  // A buffer that the program can write to at once, all bytes zero.
  Buffer MakeSharedBuffer(VkDeviceSize size, VkBufferUsageFlags usage = kStorageUsage) {
    Buffer buffer = GetParam() == MemoryOrigin::kImported ? MakeImportedBuffer(gpu(), size, usage)
                                                          : MakeHostBuffer(gpu(), size, usage);
    if (GetParam() == MemoryOrigin::kImported) {
      buffer.data = Map(buffer.memory);  // which may be done, and need not
    }
    return buffer;
  }

 private:
  bool can_import_ = false;
};

#define VESPER_TEST_WITH_BOTH_ORIGINS(fixture)                                                   \
  INSTANTIATE_TEST_SUITE_P(Memory, fixture,                                                      \
                           ::testing::Values(MemoryOrigin::kAllocated, MemoryOrigin::kImported), \
                           OriginName)

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_MEMORY_ORIGIN_H_
