// SPDX-License-Identifier: Apache-2.0
// Asks what a driver says about formats, images and buffers, prints every answer on stdout, and on
// stderr how many questions these were and how long they took:
//
//   answer_sweep guest    through Vesper (VESPER_SERVER)
//   answer_sweep native   on the driver that the tests run on (VESPER_TEST_DRIVER)
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "tests/framework/resources.h"
#include "tests/framework/test_server.h"

namespace vesper::tests {
namespace {

class Sweep {
 public:
  explicit Sweep(Gpu& gpu) : gpu_(gpu) {}

  size_t questions() const { return questions_; }

  // All formats of the core and of its promoted extensions, all types, tilings, and some uses.
  void Formats() {
    for (int format = 1; format <= VK_FORMAT_ASTC_12x12_SRGB_BLOCK; ++format) {
      OneFormat(static_cast<VkFormat>(format));
    }
    for (int format = VK_FORMAT_G8B8G8R8_422_UNORM;
         format <= VK_FORMAT_G16_B16_R16_3PLANE_444_UNORM; ++format) {
      OneFormat(static_cast<VkFormat>(format));
    }
  }

  void Images() {
    for (const VkFormat format : {VK_FORMAT_R8G8B8A8_UNORM, VK_FORMAT_D32_SFLOAT,
                                  VK_FORMAT_R16G16B16A16_SFLOAT, VK_FORMAT_R8_UNORM}) {
      for (const VkImageTiling tiling : {VK_IMAGE_TILING_OPTIMAL, VK_IMAGE_TILING_LINEAR}) {
        for (uint32_t size = 1; size <= 300; size += 23) {
          OneImage(format, tiling, size);
        }
      }
    }
  }

  void Buffers() {
    for (const VkBufferUsageFlags usage : {VkBufferUsageFlags{VK_BUFFER_USAGE_VERTEX_BUFFER_BIT},
                                           VkBufferUsageFlags{VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT},
                                           VkBufferUsageFlags{VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                                                              VK_BUFFER_USAGE_TRANSFER_DST_BIT}}) {
      for (uint64_t size = 1; size < 100'000; size = size * 3 + 5) {
        OneBuffer(usage, size);
        OneBuffer(usage, size);
      }
    }
  }

 private:
  void OneFormat(VkFormat format) {
    VkFormatProperties3 more{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3};
    VkFormatProperties2 properties{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2, &more, {}};
    gpu_.vk.GetPhysicalDeviceFormatProperties2(gpu_.physical_device, format, &properties);
    const VkFormatProperties& old = properties.formatProperties;
    Print("format",
          {format, old.linearTilingFeatures, old.optimalTilingFeatures, old.bufferFeatures,
           more.linearTilingFeatures, more.optimalTilingFeatures, more.bufferFeatures});
    for (const VkImageType type : {VK_IMAGE_TYPE_1D, VK_IMAGE_TYPE_2D, VK_IMAGE_TYPE_3D}) {
      for (const VkImageTiling tiling : {VK_IMAGE_TILING_OPTIMAL, VK_IMAGE_TILING_LINEAR}) {
        for (const VkImageUsageFlags usage :
             {VkImageUsageFlags{VK_IMAGE_USAGE_SAMPLED_BIT},
              VkImageUsageFlags{VK_IMAGE_USAGE_STORAGE_BIT},
              VkImageUsageFlags{VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT}}) {
          OneImageFormat(format, type, tiling, usage);
        }
      }
    }
  }

  void OneImageFormat(VkFormat format, VkImageType type, VkImageTiling tiling,
                      VkImageUsageFlags usage) {
    const VkPhysicalDeviceImageFormatInfo2 info{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2,
        nullptr,
        format,
        type,
        tiling,
        usage,
        0};
    VkImageFormatProperties2 properties{VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2};
    const VkResult result =
        gpu_.vk.GetPhysicalDeviceImageFormatProperties2(gpu_.physical_device, &info, &properties);
    const VkImageFormatProperties& p = properties.imageFormatProperties;
    if (result == VK_SUCCESS) {
      Print("image format",
            {format, type, tiling, usage, p.maxExtent.width, p.maxExtent.height, p.maxExtent.depth,
             p.maxMipLevels, p.maxArrayLayers, p.sampleCounts, p.maxResourceSize});
    } else {
      Print("no image format", {format, type, tiling, usage, static_cast<uint32_t>(-result)});
    }
    uint32_t count = 0;
    gpu_.vk.GetPhysicalDeviceSparseImageFormatProperties(
        gpu_.physical_device, format, type, VK_SAMPLE_COUNT_1_BIT, usage, tiling, &count, nullptr);
    std::vector<VkSparseImageFormatProperties> sparse(count);
    if (count != 0) {
      gpu_.vk.GetPhysicalDeviceSparseImageFormatProperties(gpu_.physical_device, format, type,
                                                           VK_SAMPLE_COUNT_1_BIT, usage, tiling,
                                                           &count, sparse.data());
    }
    for (const VkSparseImageFormatProperties& s : sparse) {
      Print("sparse", {s.aspectMask, s.imageGranularity.width, s.imageGranularity.height,
                       s.imageGranularity.depth, s.flags});
    }
  }

  void OneImage(VkFormat format, VkImageTiling tiling, uint32_t size) {
    VkImageFormatProperties properties;
    const VkImageUsageFlags usage = VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
    if (gpu_.vk.GetPhysicalDeviceImageFormatProperties(gpu_.physical_device, format,
                                                       VK_IMAGE_TYPE_2D, tiling, usage, 0,
                                                       &properties) != VK_SUCCESS) {
      return;
    }
    const VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                 nullptr,
                                 0,
                                 VK_IMAGE_TYPE_2D,
                                 format,
                                 {size, 2 * size, 1},
                                 1,
                                 1,
                                 VK_SAMPLE_COUNT_1_BIT,
                                 tiling,
                                 usage};
    const VkDeviceImageMemoryRequirements before_info{
        VK_STRUCTURE_TYPE_DEVICE_IMAGE_MEMORY_REQUIREMENTS, nullptr, &info,
        VK_IMAGE_ASPECT_COLOR_BIT};
    VkMemoryRequirements2 before{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    gpu_.vk.GetDeviceImageMemoryRequirements(gpu_.device, &before_info, &before);
    Print("image before", before.memoryRequirements);
    for (int i = 0; i < 2; ++i) {
      const Owned<VkImage> image = gpu_.Make(gpu_.vk.CreateImage, gpu_.vk.DestroyImage, info);
      VkMemoryDedicatedRequirements dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS};
      VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, &dedicated, {}};
      const VkImageMemoryRequirementsInfo2 asked{VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2,
                                                 nullptr, image};
      gpu_.vk.GetImageMemoryRequirements2(gpu_.device, &asked, &requirements);
      Print("image", requirements.memoryRequirements);
      Print("dedicated",
            {dedicated.prefersDedicatedAllocation, dedicated.requiresDedicatedAllocation});
      if (tiling == VK_IMAGE_TILING_LINEAR) {
        const VkImageSubresource subresource{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
        VkSubresourceLayout layout{};
        gpu_.vk.GetImageSubresourceLayout(gpu_.device, image, &subresource, &layout);
        Print("layout", {layout.offset, layout.size, layout.rowPitch});
      }
    }
  }

  void OneBuffer(VkBufferUsageFlags usage, uint64_t size) {
    const VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 0, size, usage};
    const VkDeviceBufferMemoryRequirements before_info{
        VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS, nullptr, &info};
    VkMemoryRequirements2 before{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    gpu_.vk.GetDeviceBufferMemoryRequirements(gpu_.device, &before_info, &before);
    Print("buffer before", before.memoryRequirements);
    const Owned<VkBuffer> buffer = gpu_.Make(gpu_.vk.CreateBuffer, gpu_.vk.DestroyBuffer, info);
    VkMemoryRequirements requirements{};
    gpu_.vk.GetBufferMemoryRequirements(gpu_.device, buffer, &requirements);
    Print("buffer", requirements);
  }

  void Print(const char* what, const VkMemoryRequirements& requirements) {
    Print(what, {requirements.size, requirements.alignment, requirements.memoryTypeBits});
  }

  void Print(const char* what, std::initializer_list<uint64_t> values) {
    ++questions_;
    line_ = what;
    for (const uint64_t value : values) {
      line_ += ' ' + std::to_string(value);
    }
    std::puts(line_.c_str());
  }

  Gpu& gpu_;
  std::string line_;
  size_t questions_ = 0;
};

void Run(bool native) {
  if (native) {
    TestTarget target = TestTarget::FromEnvironment();
    target.native = true;
    UseDriver(target, "");
  }
  Gpu gpu;
  gpu.Open();
  Sweep sweep(gpu);
  const auto begin = std::chrono::steady_clock::now();
  sweep.Formats();
  sweep.Images();
  sweep.Buffers();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  std::fprintf(stderr, "%zu answers in %.1f ms\n", sweep.questions(), took.count());
}

}  // namespace
}  // namespace vesper::tests

int main(int argc, char** argv) {
  const std::string mode = argc == 2 ? argv[1] : "";
  if (mode != "guest" && mode != "native") {
    std::cerr << "usage: answer_sweep guest|native\n";
    return 2;
  }
  try {
    vesper::tests::Run(mode == "native");
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
