// SPDX-License-Identifier: Apache-2.0
// The guest driver as the loader sees it, without a loader in between: what the library exports,
// how it agrees on a version of the interface, and that it can be closed and opened again.
#include <dlfcn.h>
#include <elf.h>
#include <gmock/gmock.h>

#include <cstring>
#include <fstream>

#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr char kLibrary[] = VESPER_BUILD_DIR "/lib/libvesper_icd.so";

// What every dispatchable object must begin with until the loader has put its own pointer there.
constexpr uint64_t kLoaderMagic = 0x01CDC0DE;

using Negotiate = VkResult (*)(uint32_t* version);
using GetProcAddr = PFN_vkVoidFunction (*)(VkInstance instance, const char* name);

template <typename T>
T At(const std::string& file, uint64_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof(value));
  return value;
}

// The names that a shared library (64 bits, little endian) gives to others.
std::vector<std::string> ExportedNames(const std::string& path) {
  const std::string file = ReadFile(path);
  const auto header = At<Elf64_Ehdr>(file, 0);
  std::vector<std::string> names;
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    const auto section = At<Elf64_Shdr>(file, header.e_shoff + i * sizeof(Elf64_Shdr));
    if (section.sh_type != SHT_DYNSYM) {
      continue;
    }
    const auto strings =
        At<Elf64_Shdr>(file, header.e_shoff + section.sh_link * sizeof(Elf64_Shdr));
    for (uint64_t offset = 0; offset < section.sh_size; offset += sizeof(Elf64_Sym)) {
      const auto symbol = At<Elf64_Sym>(file, section.sh_offset + offset);
      if (symbol.st_shndx != SHN_UNDEF && symbol.st_shndx != SHN_ABS) {
        names.emplace_back(file.data() + strings.sh_offset + symbol.st_name);
      }
    }
  }
  return names;
}

class IcdInterfaceTest : public VesperOnlyTest {
 protected:
  void SetUp() override {
    VesperOnlyTest::SetUp();
    if (!IsSkipped()) {
      OpenLibrary();
    }
  }

  void TearDown() override {
    if (library_ != nullptr) {
      dlclose(library_);
    }
  }

  void OpenLibrary() {
    library_ = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(nullptr, library_) << dlerror();
    negotiate_ = Symbol<Negotiate>("vk_icdNegotiateLoaderICDInterfaceVersion");
    get_instance_ = Symbol<GetProcAddr>("vk_icdGetInstanceProcAddr");
    get_physical_device_ = Symbol<GetProcAddr>("vk_icdGetPhysicalDeviceProcAddr");
    ASSERT_TRUE(negotiate_ != nullptr && get_instance_ != nullptr &&
                get_physical_device_ != nullptr);
  }

  template <typename Function>
  Function Symbol(const char* name) const {
    return reinterpret_cast<Function>(dlsym(library_, name));
  }

  template <typename Function>
  Function Command(VkInstance instance, const char* name) const {
    return reinterpret_cast<Function>(get_instance_(instance, name));
  }

  uint32_t NegotiatedWith(uint32_t offered) const {
    uint32_t version = offered;
    EXPECT_EQ(VK_SUCCESS, negotiate_(&version));
    return version;
  }

  VkInstance CreateInstance() const {
    const VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    VkInstance instance = VK_NULL_HANDLE;
    VESPER_CHECK(
        Command<PFN_vkCreateInstance>(nullptr, "vkCreateInstance")(&info, nullptr, &instance));
    return instance;
  }

  void DestroyInstance(VkInstance instance) const {
    Command<PFN_vkDestroyInstance>(instance, "vkDestroyInstance")(instance, nullptr);
  }

  static uint64_t FirstWord(void* object) {
    uint64_t word = 0;
    std::memcpy(&word, object, sizeof(word));
    return word & 0xFFFFFFFF;
  }

  void* library_ = nullptr;
  Negotiate negotiate_ = nullptr;
  GetProcAddr get_instance_ = nullptr;
  GetProcAddr get_physical_device_ = nullptr;
};

TEST_F(IcdInterfaceTest, ExportsTheInterfaceAndNothingElse) {
  EXPECT_THAT(ExportedNames(kLibrary),
              ::testing::UnorderedElementsAre("vk_icdNegotiateLoaderICDInterfaceVersion",
                                              "vk_icdGetInstanceProcAddr",
                                              "vk_icdGetPhysicalDeviceProcAddr"));
}

TEST_F(IcdInterfaceTest, AgreesOnAVersion) {
  EXPECT_EQ(7u, NegotiatedWith(7));
  EXPECT_EQ(7u, NegotiatedWith(8));
  EXPECT_EQ(7u, NegotiatedWith(1000));
  EXPECT_EQ(6u, NegotiatedWith(6));
  EXPECT_EQ(5u, NegotiatedWith(5));
}

TEST_F(IcdInterfaceTest, EntryPointsThroughGetInstanceProcAddr) {
  // Version 7: whoever loads a driver directly finds the interface through the lookup itself.
  EXPECT_EQ(reinterpret_cast<PFN_vkVoidFunction>(negotiate_),
            get_instance_(nullptr, "vk_icdNegotiateLoaderICDInterfaceVersion"));
  EXPECT_EQ(reinterpret_cast<PFN_vkVoidFunction>(get_physical_device_),
            get_instance_(nullptr, "vk_icdGetPhysicalDeviceProcAddr"));
  for (const char* name : {"vkCreateInstance", "vkEnumerateInstanceExtensionProperties",
                           "vkEnumerateInstanceVersion"}) {
    EXPECT_NE(nullptr, get_instance_(nullptr, name)) << name;
  }
  EXPECT_EQ(nullptr, get_instance_(nullptr, "vkOfAnotherWorld"));
}

TEST_F(IcdInterfaceTest, PhysicalDeviceCommandsOnly) {
  NegotiatedWith(7);
  VkInstance instance = CreateInstance();
  for (const char* name : {"vkGetPhysicalDeviceProperties", "vkGetPhysicalDeviceFeatures2",
                           "vkEnumerateDeviceExtensionProperties"}) {
    EXPECT_NE(nullptr, get_physical_device_(instance, name)) << name;
  }
  for (const char* name :
       {"vkCreateBuffer", "vkQueueSubmit", "vkCmdDraw", "vkDestroyInstance", "vkOfAnotherWorld"}) {
    EXPECT_EQ(nullptr, get_physical_device_(instance, name)) << name;
  }
  DestroyInstance(instance);
}

TEST_F(IcdInterfaceTest, DispatchableObjectsBeginWithTheMagicNumber) {
  NegotiatedWith(7);
  VkInstance instance = CreateInstance();
  EXPECT_EQ(kLoaderMagic, FirstWord(instance));
  uint32_t count = 1;
  VkPhysicalDevice physical_device = VK_NULL_HANDLE;
  const VkResult found = Command<PFN_vkEnumeratePhysicalDevices>(
      instance, "vkEnumeratePhysicalDevices")(instance, &count, &physical_device);
  ASSERT_TRUE(found == VK_SUCCESS || found == VK_INCOMPLETE);
  ASSERT_EQ(1u, count);
  EXPECT_EQ(kLoaderMagic, FirstWord(physical_device));
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queue_info{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue_info.queueCount = 1;
  queue_info.pQueuePriorities = &priority;
  VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue_info;
  VkDevice device = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS, Command<PFN_vkCreateDevice>(instance, "vkCreateDevice")(
                            physical_device, &info, nullptr, &device));
  EXPECT_EQ(kLoaderMagic, FirstWord(device));
  const auto get_device_proc = Command<PFN_vkGetDeviceProcAddr>(instance, "vkGetDeviceProcAddr");
  const auto get = [&]<typename Function>(Function& function, const char* name) {
    function = reinterpret_cast<Function>(get_device_proc(device, name));
    ASSERT_NE(nullptr, function) << name;
  };
  PFN_vkGetDeviceQueue get_queue = nullptr;
  PFN_vkCreateCommandPool create_pool = nullptr;
  PFN_vkDestroyCommandPool destroy_pool = nullptr;
  PFN_vkAllocateCommandBuffers allocate = nullptr;
  PFN_vkDestroyDevice destroy_device = nullptr;
  get(get_queue, "vkGetDeviceQueue");
  get(create_pool, "vkCreateCommandPool");
  get(destroy_pool, "vkDestroyCommandPool");
  get(allocate, "vkAllocateCommandBuffers");
  get(destroy_device, "vkDestroyDevice");
  VkQueue queue = VK_NULL_HANDLE;
  get_queue(device, 0, 0, &queue);
  EXPECT_EQ(kLoaderMagic, FirstWord(queue));
  const VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  VkCommandPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS, create_pool(device, &pool_info, nullptr, &pool));
  VkCommandBufferAllocateInfo allocate_info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  allocate_info.commandPool = pool;
  allocate_info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS, allocate(device, &allocate_info, &commands));
  EXPECT_EQ(kLoaderMagic, FirstWord(commands));
  destroy_pool(device, pool, nullptr);
  destroy_device(device, nullptr);
  DestroyInstance(instance);
}

TEST_F(IcdInterfaceTest, ClosedAndOpenedAgain) {
  for (int round = 0; round < 20; ++round) {
    NegotiatedWith(7);
    DestroyInstance(CreateInstance());
    dlclose(library_);
    OpenLibrary();
    if (HasFatalFailure()) {
      return;
    }
  }
}

TEST_F(IcdInterfaceTest, UnreachableServerIsInitializationFailed) {
  const TemporaryFolder folder;
  const std::string old = getenv("VESPER_SERVER");
  setenv("VESPER_SERVER", ("unix:" + folder.Path("nobody")).c_str(), 1);
  NegotiatedWith(7);
  const VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  VkInstance instance = VK_NULL_HANDLE;
  EXPECT_EQ(VK_ERROR_INITIALIZATION_FAILED,
            Command<PFN_vkCreateInstance>(nullptr, "vkCreateInstance")(&info, nullptr, &instance));
  setenv("VESPER_SERVER", old.c_str(), 1);
  DestroyInstance(CreateInstance());
}

}  // namespace
}  // namespace vesper::tests
