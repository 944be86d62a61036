// SPDX-License-Identifier: Apache-2.0
// What a guest is told about the device is what the real driver says, number by number.
#include <gmock/gmock.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>

#include "tests/framework/vulkan_test.h"
#include "tests/integration/capability_dump.h"

namespace vesper::tests {
namespace {

// Device extensions that real drivers have and the guest does not, with the reason. The same list,
// with more of the reasoning, is in the generator's policy.
struct LeftOut {
  const char* prefix;
  const char* reason;
};

constexpr LeftOut kLeftOut[] = {
    {"VK_EXT_present_", "window system"},
    {"VK_GOOGLE_display_timing", "window system"},
    {"VK_NV_present_", "window system"},
    {"VK_EXT_display_control", "window system"},
    {"VK_EXT_hdr_metadata", "window system"},
    {"VK_EXT_full_screen", "window system"},
    {"VK_NV_low_latency", "window system"},
    {"VK_KHR_external_memory_fd", "kernel objects of the host"},
    {"VK_KHR_external_semaphore_fd", "kernel objects of the host"},
    {"VK_KHR_external_fence_fd", "kernel objects of the host"},
    {"VK_EXT_external_memory_dma_buf", "kernel objects of the host"},
    {"VK_EXT_external_memory_acquire_unmodified", "kernel objects of the host"},
    {"VK_NV_external_memory", "kernel objects of the host"},
    {"VK_EXT_image_drm_format_modifier", "kernel objects of the host"},
    {"VK_EXT_queue_family_foreign", "kernel objects of the host"},
    {"VK_EXT_physical_device_drm", "kernel objects of the host"},
    {"VK_KHR_video_", "described by a registry of its own"},
    {"VK_KHR_shared_presentable_image", "window system"},
    {"VK_NVX_binary_import", "arguments whose sizes only the kernel's binary tells"},
    {"VK_NV_cuda_kernel_launch", "arguments whose sizes only the kernel's binary tells"},
    {"VK_EXT_device_memory_report", "calls the program back"},
    {"VK_EXT_device_address_binding_report", "calls the program back"},
    {"VK_KHR_shader_bfloat16", "newer than the registry that the lock was made from"},
    {"VK_NV_disk_cache_utils", "in no public registry"},
    {"VK_NV_internal_nvpresent", "in no public registry"},
    {"VK_NV_displacement_micromap", "provisional"},
    {"VK_AMDX_", "provisional"},
    {"VK_ANDROID_", "another platform"},
    {"VK_ARM_", "another vendor's"},
    {"VK_QCOM_", "another vendor's"},
    {"VK_HUAWEI_", "another vendor's"},
};

bool IsLeftOut(const std::string& extension) {
  for (const LeftOut& entry : kLeftOut) {
    if (extension.starts_with(entry.prefix)) {
      return true;
    }
  }
  return false;
}

// Features that Vesper takes away whatever the driver says (policy.toml has the reasons).
constexpr const char* kMasked[] = {
    "VkPhysicalDeviceAccelerationStructureFeaturesKHR.accelerationStructureHostCommands",
    "VkPhysicalDeviceOpacityMicromapFeaturesEXT.micromapHostCommands",
    "VkPhysicalDeviceDescriptorBufferFeaturesEXT.descriptorBufferCaptureReplay",
    "VkPhysicalDeviceRayTracingPipelineFeaturesKHR."
    "rayTracingPipelineShaderGroupHandleCaptureReplay",
    "VkPhysicalDeviceRayTracingPipelineFeaturesKHR."
    "rayTracingPipelineShaderGroupHandleCaptureReplayMixed",
};

class PhysicalDeviceParityTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    guest_ = new Capabilities(DumpCapabilities());
    native_ = new Capabilities(DumpNatively());
  }

  static void TearDownTestSuite() {
    delete guest_;
    delete native_;
  }

  static Capabilities DumpNatively() {
    const TemporaryFolder folder;
    ChildProcess dump = ChildProcess::Start({VESPER_CAPABILITY_DUMP}, {}, folder.Path("out"));
    const std::optional<int> status = dump.Wait(std::chrono::seconds(60));
    EXPECT_TRUE(status.has_value() && *status == 0) << "the native dump failed";
    Capabilities found;
    std::istringstream lines(ReadFile(folder.Path("out")));
    for (std::string line; std::getline(lines, line);) {
      const size_t middle = line.find('=');
      found[line.substr(0, middle)] = line.substr(middle + 1);
    }
    return found;
  }

  // Compares all entries whose names begin so; both sides must have the same ones.
  static void ExpectSame(const std::string& prefix) {
    size_t compared = 0;
    for (const auto& [name, value] : *native_) {
      if (!name.starts_with(prefix)) {
        continue;
      }
      ++compared;
      const auto found = guest_->find(name);
      if (found == guest_->end()) {
        // A struct of an extension that the guest is not offered.
        EXPECT_FALSE(IsOfOfferedStruct(name)) << name << " is missing in the guest";
      } else if (!IsNative() &&
                 std::find(std::begin(kMasked), std::end(kMasked), name) != std::end(kMasked)) {
        EXPECT_EQ("0", found->second) << name;
      } else {
        EXPECT_EQ(value, found->second) << name;
      }
    }
    for (const auto& [name, value] : *guest_) {
      if (name.starts_with(prefix)) {
        EXPECT_TRUE(native_->contains(name)) << name << " is an invention of the guest";
      }
    }
    EXPECT_GT(compared, 0u) << "nothing begins with " << prefix;
  }

  // True if the guest has other members of the same struct.
  static bool IsOfOfferedStruct(const std::string& name) {
    const std::string prefix = name.substr(0, name.find('.') + 1);
    const auto next = guest_->lower_bound(prefix);
    return next != guest_->end() && next->first.starts_with(prefix);
  }

  static bool IsNative() { return TestTarget::FromEnvironment().native; }

  static Capabilities* guest_;
  static Capabilities* native_;
};

Capabilities* PhysicalDeviceParityTest::guest_ = nullptr;
Capabilities* PhysicalDeviceParityTest::native_ = nullptr;

TEST_F(PhysicalDeviceParityTest, FeaturesAndProperties) { ExpectSame("Vk"); }
TEST_F(PhysicalDeviceParityTest, QueueFamilies) { ExpectSame("queue_family."); }
TEST_F(PhysicalDeviceParityTest, MemoryTypes) { ExpectSame("memory_type."); }
TEST_F(PhysicalDeviceParityTest, MemoryHeaps) { ExpectSame("memory_heap."); }
TEST_F(PhysicalDeviceParityTest, Formats) { ExpectSame("format."); }
TEST_F(PhysicalDeviceParityTest, ImageFormats) { ExpectSame("image_format."); }
TEST_F(PhysicalDeviceParityTest, Tools) { ExpectSame("tools"); }

TEST_F(PhysicalDeviceParityTest, DeviceExtensions) {
  const std::string prefix = "extension.";
  for (const auto& [name, version] : *native_) {
    if (!name.starts_with(prefix)) {
      continue;
    }
    const std::string extension = name.substr(prefix.size());
    const bool offered = guest_->contains(name);
    if (offered) {
      // The guest may know an older version than the driver.
      EXPECT_LE(std::stoul(guest_->at(name)), std::stoul(version)) << extension;
      EXPECT_TRUE(IsNative() || !IsLeftOut(extension)) << extension << " should not be offered";
    } else {
      EXPECT_TRUE(IsLeftOut(extension)) << extension << " is missing without a reason";
    }
  }
  for (const auto& [name, version] : *guest_) {
    // Some belong to the guest, whatever the driver has.
    static const std::set<std::string> kOwn = {
        "VK_KHR_map_memory2",  "VK_EXT_map_memory_placed",   "VK_EXT_external_memory_host",
        "VK_KHR_swapchain",    "VK_KHR_present_id",          "VK_KHR_swapchain_mutable_format",
        "VK_KHR_present_wait", "VK_KHR_incremental_present", "VK_EXT_swapchain_maintenance1"};
    if (name.starts_with(prefix) && !kOwn.contains(name.substr(prefix.size()))) {
      EXPECT_TRUE(native_->contains(name)) << name << " is not the driver's";
    }
  }
}

TEST_F(PhysicalDeviceParityTest, InstanceExtensions) {
  for (const char* name :
       {"VK_KHR_get_physical_device_properties2", "VK_KHR_device_group_creation",
        "VK_KHR_external_memory_capabilities", "VK_KHR_external_semaphore_capabilities",
        "VK_KHR_external_fence_capabilities", "VK_EXT_debug_utils"}) {
    EXPECT_TRUE(guest_->contains(std::string("instance_extension.") + name)) << name;
  }
}

// Of all handle types, the guest has memory of the program's own.
TEST_F(PhysicalDeviceParityTest, NoHandlesOfTheHostForGuests) {
  if (IsNative()) {
    GTEST_SKIP() << "This is about what a guest is told.";
  }
  for (const auto& [name, value] : *guest_) {
    if (name == "external.buffer.7") {
      EXPECT_EQ(std::to_string(VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT), value) << name;
    } else if (name.starts_with("external.")) {
      EXPECT_EQ("0", value) << name;
    }
  }
}

TEST_F(PhysicalDeviceParityTest, NumberOfDevices) { ExpectSame("physical_devices"); }

}  // namespace
}  // namespace vesper::tests
