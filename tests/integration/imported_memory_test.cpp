// SPDX-License-Identifier: Apache-2.0
// Memory of the program's own that a device is given (VK_EXT_external_memory_host). That every
// releasing and observing call works on it is tried where those calls are: memory_release_test.cpp,
// memory_observe_test.cpp, memory_merge_test.cpp and, at random, memory_program_test.cpp.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr auto kHostPointer = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
constexpr VkDeviceSize kPage = 4096;
constexpr VkDeviceSize kSize = 16 * kPage;

class ImportedMemoryTest : public VulkanTest {
 protected:
  void Configure(GpuOptions& options) override {
    if (HasDeviceExtension(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME)) {
      options.device_extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    }
  }

  void SetUp() override {
    VulkanTest::SetUp();
    VESPER_REQUIRE(HasDeviceExtension(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME));
    get_properties_ = reinterpret_cast<PFN_vkGetMemoryHostPointerPropertiesEXT>(
        vk.GetDeviceProcAddr(device, "vkGetMemoryHostPointerPropertiesEXT"));
    ASSERT_NE(nullptr, get_properties_);
  }

  Owned<VkBuffer> MakeExternalBuffer(VkDeviceSize size = kSize) {
    VkExternalMemoryBufferCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
    external.handleTypes = kHostPointer;
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.pNext = &external;
    info.size = size;
    info.usage = kStorageUsage;
    return Make(vk.CreateBuffer, vk.DestroyBuffer, info);
  }

  uint32_t TypesOf(VkBuffer buffer) {
    VkMemoryRequirements requirements{};
    vk.GetBufferMemoryRequirements(device, buffer, &requirements);
    return requirements.memoryTypeBits;
  }

  // A buffer over pages of the program's own.
  struct Imported {
    Owned<VkDeviceMemory> memory;
    Owned<VkBuffer> buffer;
  };
  Imported ImportBuffer(void* pages, VkDeviceSize size = kSize) {
    Imported imported;
    imported.buffer = MakeExternalBuffer(size);
    imported.memory = ImportPages(gpu(), pages, size, TypesOf(imported.buffer));
    VESPER_CHECK(vk.BindBufferMemory(device, imported.buffer, imported.memory, 0));
    return imported;
  }

  PFN_vkGetMemoryHostPointerPropertiesEXT get_properties_ = nullptr;
};

TEST_F(ImportedMemoryTest, SaysWhatCanBeImported) {
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT host{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT};
  VkPhysicalDeviceProperties2 all{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &host, {}};
  vk.GetPhysicalDeviceProperties2(physical_device, &all);
  EXPECT_EQ(static_cast<VkDeviceSize>(::sysconf(_SC_PAGESIZE)),
            host.minImportedHostPointerAlignment);

  const std::shared_ptr<void> pages = MakePages(kSize);
  VkMemoryHostPointerPropertiesEXT importable{VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
  ASSERT_EQ(VK_SUCCESS, get_properties_(device, kHostPointer, pages.get(), &importable));
  ASSERT_NE(0u, importable.memoryTypeBits);
  ASSERT_EQ(0u, importable.memoryTypeBits >> memory_properties.memoryTypeCount);
  EXPECT_NE(0u, importable.memoryTypeBits & TypesOf(MakeExternalBuffer()))
      << "a buffer in none of them";
  for (uint32_t i = 0; i < memory_properties.memoryTypeCount; ++i) {
    if ((importable.memoryTypeBits >> i & 1) != 0) {
      EXPECT_NE(
          0u, memory_properties.memoryTypes[i].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)
          << "type " << i;
    }
  }
}

TEST_F(ImportedMemoryTest, SaysWhatImagesCanBeMadeOfIt) {
  if (TestTarget::FromEnvironment().native) {
    GTEST_SKIP() << "Drivers differ in the images that they import.";
  }
  VkPhysicalDeviceExternalImageFormatInfo external{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO};
  VkPhysicalDeviceImageFormatInfo2 info{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2};
  info.format = VK_FORMAT_R8G8B8A8_UNORM;
  info.type = VK_IMAGE_TYPE_2D;
  info.tiling = VK_IMAGE_TILING_LINEAR;
  info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT;
  VkImageFormatProperties2 plain{VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2};
  ASSERT_EQ(VK_SUCCESS, vk.GetPhysicalDeviceImageFormatProperties2(physical_device, &info, &plain));
  info.pNext = &external;
  external.handleType = kHostPointer;
  VkExternalImageFormatProperties answer{VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES};
  VkImageFormatProperties2 imported{VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2, &answer, {}};
  ASSERT_EQ(VK_SUCCESS,
            vk.GetPhysicalDeviceImageFormatProperties2(physical_device, &info, &imported));
  EXPECT_EQ(VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT,
            answer.externalMemoryProperties.externalMemoryFeatures);
  EXPECT_EQ(kHostPointer, answer.externalMemoryProperties.compatibleHandleTypes);
  EXPECT_EQ(0, std::memcmp(&plain.imageFormatProperties, &imported.imageFormatProperties,
                           sizeof(plain.imageFormatProperties)));
  external.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
  EXPECT_EQ(VK_ERROR_FORMAT_NOT_SUPPORTED,
            vk.GetPhysicalDeviceImageFormatProperties2(physical_device, &info, &imported));
}

TEST_F(ImportedMemoryTest, RefusesWhatCannotBeImported) {
  if (TestTarget::FromEnvironment().native) {
    GTEST_SKIP() << "Not valid, and drivers do as they like.";
  }
  const std::shared_ptr<void> pages = MakePages(kSize);
  VkMemoryHostPointerPropertiesEXT importable{VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
  EXPECT_EQ(
      VK_ERROR_INVALID_EXTERNAL_HANDLE,
      get_properties_(device, kHostPointer, static_cast<uint8_t*>(pages.get()) + 64, &importable));
  EXPECT_EQ(
      VK_ERROR_INVALID_EXTERNAL_HANDLE,
      get_properties_(device, VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_MAPPED_FOREIGN_MEMORY_BIT_EXT,
                      pages.get(), &importable));
  ASSERT_EQ(VK_SUCCESS, get_properties_(device, kHostPointer, pages.get(), &importable));
  VkImportMemoryHostPointerInfoEXT import{VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT};
  import.handleType = kHostPointer;
  import.pHostPointer = static_cast<uint8_t*>(pages.get()) + 64;
  VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  info.pNext = &import;
  info.allocationSize = kPage;
  info.memoryTypeIndex = FindMemoryType(importable.memoryTypeBits, 0);
  for (int i = 0; i < 100; ++i) {
    VkDeviceMemory memory = VK_NULL_HANDLE;
    ASSERT_EQ(VK_ERROR_INVALID_EXTERNAL_HANDLE, vk.AllocateMemory(device, &info, nullptr, &memory));
    ASSERT_EQ(VK_NULL_HANDLE, memory);
  }
}

TEST_F(ImportedMemoryTest, HoldsWhatWasThereBefore) {
  const std::shared_ptr<void> pages = MakePages(kSize);
  const std::vector<uint8_t> expected = Random(1).Bytes(kSize);
  std::memcpy(pages.get(), expected.data(), kSize);
  const Imported imported = ImportBuffer(pages.get());
  EXPECT_EQ(expected, ReadBack(gpu(), imported.buffer, kSize));
  EXPECT_EQ(0, std::memcmp(expected.data(), pages.get(), kSize));
}

TEST_F(ImportedMemoryTest, LeavesItsNeighboursAlone) {
  // Pages in the midst of others, which are the program's and no business of the device's.
  const std::shared_ptr<void> all = MakePages(3 * kSize);
  auto* const begin = static_cast<uint8_t*>(all.get());
  const std::vector<uint8_t> before = Random(2).Bytes(3 * kSize);
  std::memcpy(begin, before.data(), before.size());
  const Imported imported = ImportBuffer(begin + kSize);
  Execute([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, imported.buffer, 0, VK_WHOLE_SIZE, 0x5A5A5A5A);
    FullBarrier(commands);
  });
  EXPECT_EQ(0, std::memcmp(before.data(), begin, kSize));
  EXPECT_EQ(0, std::memcmp(before.data() + 2 * kSize, begin + 2 * kSize, kSize));
  for (size_t i = kSize; i < 2 * kSize; ++i) {
    ASSERT_EQ(0x5A, begin[i]) << "byte " << i;
  }
}

TEST_F(ImportedMemoryTest, IsTheProgramsOwnAgainOnceItIsFreed) {
  const std::shared_ptr<void> pages = MakePages(kSize);
  Imported imported = ImportBuffer(pages.get());
  Execute([&](VkCommandBuffer commands) {
    vk.CmdFillBuffer(commands, imported.buffer, 0, VK_WHOLE_SIZE, 0x11111111);
    FullBarrier(commands);
  });
  imported.buffer.Reset();
  imported.memory.Reset();
  // Whoever touches it now is found out.
  ASSERT_EQ(0, ::mprotect(pages.get(), kSize, PROT_NONE));
  const Buffer other = MakeHostBuffer(gpu(), kSize);
  for (int i = 0; i < 3; ++i) {
    std::memset(other.data, i, kSize);
    EXPECT_EQ(static_cast<uint8_t>(i), ReadBack(gpu(), other.handle, kSize)[kSize - 1]);
  }
  ASSERT_EQ(0, ::mprotect(pages.get(), kSize, PROT_READ));
  EXPECT_EQ(0x11, static_cast<const uint8_t*>(pages.get())[kSize - 1]);
}

TEST_F(ImportedMemoryTest, OfAFileThatSystemCallsWrite) {
  const int file = ::memfd_create("imported", MFD_CLOEXEC);
  ASSERT_GE(file, 0);
  ASSERT_EQ(0, ::ftruncate(file, kSize));
  void* mapped = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ASSERT_NE(MAP_FAILED, mapped);
  const std::shared_ptr<void> pages(mapped, [](void* begin) { ::munmap(begin, kSize); });
  {
    const Imported imported = ImportBuffer(pages.get());
    // The file is written behind the mapping's back.
    std::vector<uint8_t> expected = Random(3).Bytes(kSize);
    ASSERT_EQ(static_cast<ssize_t>(kSize), ::pwrite(file, expected.data(), kSize, 0));
    EXPECT_EQ(expected, ReadBack(gpu(), imported.buffer, kSize));
    // And read behind its back, when the device has written.
    Execute([&](VkCommandBuffer commands) {
      vk.CmdFillBuffer(commands, imported.buffer, kPage, kPage, 0x77777777);
      FullBarrier(commands);
    });
    std::fill_n(expected.begin() + kPage, kPage, uint8_t{0x77});
    std::vector<uint8_t> found(kSize);
    ASSERT_EQ(static_cast<ssize_t>(kSize), ::pread(file, found.data(), kSize, 0));
    EXPECT_EQ(expected, found);
  }
  ::close(file);
}

TEST_F(ImportedMemoryTest, SeveralAllocationsInOneArray) {
  // A program's arena: each allocation is a part of one array, and none knows of the others.
  constexpr size_t kParts = 8;
  const std::shared_ptr<void> pages = MakePages(kParts * kSize);
  auto* const begin = static_cast<uint8_t*>(pages.get());
  std::vector<Imported> parts;
  for (size_t i = 0; i < kParts; ++i) {
    parts.push_back(ImportBuffer(begin + i * kSize));
  }
  Random random(4);
  std::vector<uint8_t> expected(kParts * kSize);
  for (int round = 0; round < 10; ++round) {
    const size_t from = random.Below(kParts);
    const size_t to = (from + 1 + random.Below(kParts - 1)) % kParts;
    random.Fill(std::span(expected).subspan(from * kSize, kSize));
    std::memcpy(begin + from * kSize, expected.data() + from * kSize, kSize);
    Execute([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      CopyBytes(gpu(), commands, parts[from].buffer, parts[to].buffer, kSize);
      FullBarrier(commands);
    });
    std::memcpy(expected.data() + to * kSize, expected.data() + from * kSize, kSize);
    ASSERT_EQ(0, std::memcmp(expected.data(), begin, expected.size())) << "round " << round;
  }
}

TEST_F(ImportedMemoryTest, CanBeMappedAsWell) {
  const std::shared_ptr<void> pages = MakePages(kSize);
  const Imported imported = ImportBuffer(pages.get());
  uint8_t* data = Map(imported.memory, kPage, 2 * kPage);
  std::memset(data, 0x42, 2 * kPage);
  VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
  range.memory = imported.memory;
  range.offset = kPage;
  range.size = 2 * kPage;
  ASSERT_EQ(VK_SUCCESS, vk.FlushMappedMemoryRanges(device, 1, &range));
  vk.UnmapMemory(device, imported.memory);
  // Unmapped or not, it goes on being shared.
  static_cast<uint8_t*>(pages.get())[0] = 0x43;
  const std::vector<uint8_t> found = ReadBack(gpu(), imported.buffer, kSize);
  EXPECT_EQ(0x43, found[0]);
  EXPECT_EQ(0, found[1]);
  EXPECT_EQ(0x42, found[kPage]);
  EXPECT_EQ(0x42, found[3 * kPage - 1]);
  EXPECT_EQ(0, found[3 * kPage]);
}

}  // namespace
}  // namespace vesper::tests
