// SPDX-License-Identifier: Apache-2.0
// The guest asks for a fact once: which questions are the same, and which answers are none.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "client_icd/answer_file.h"
#include "client_icd/device.h"
#include "tests/framework/process.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {
namespace {

constexpr const char* kFormat = "vkGetPhysicalDeviceFormatProperties2";
constexpr const char* kImageFormat = "vkGetPhysicalDeviceImageFormatProperties2";
constexpr const char* kSparseFormat = "vkGetPhysicalDeviceSparseImageFormatProperties2";

class AnswersTest : public WireTest {
 protected:
  void SetUp() override {
    mock_.On(number::vkGetPhysicalDeviceFormatProperties2, [](void* raw) {
      auto& args = *static_cast<proto::Args_vkGetPhysicalDeviceFormatProperties2*>(raw);
      args.pFormatProperties->formatProperties.linearTilingFeatures = 100u + args.format;
    });
    mock_.On(number::vkGetPhysicalDeviceSparseImageFormatProperties2, [](void* raw) {
      auto& args = *static_cast<proto::Args_vkGetPhysicalDeviceSparseImageFormatProperties2*>(raw);
      constexpr uint32_t kCount = 3;
      if (args.pProperties != nullptr) {
        *args.pPropertyCount = std::min(*args.pPropertyCount, kCount);
        for (uint32_t i = 0; i < *args.pPropertyCount; ++i) {
          args.pProperties[i].properties.imageGranularity = {7, 8, 9 + i};
        }
      } else {
        *args.pPropertyCount = kCount;
      }
    });
    mock_.On(number::vkGetImageMemoryRequirements2, [](void* raw) {
      auto& args = *static_cast<proto::Args_vkGetImageMemoryRequirements2*>(raw);
      args.pMemoryRequirements->memoryRequirements = {4096, 64, 3};
    });
  }

  VkFormatFeatureFlags Ask(VkFormat format) {
    VkFormatProperties2 properties{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2};
    vk::vkGetPhysicalDeviceFormatProperties2(physical_device_, format, &properties);
    return properties.formatProperties.linearTilingFeatures;
  }

  uint32_t AskSparse(uint32_t count, VkSparseImageFormatProperties2* properties) {
    const VkPhysicalDeviceSparseImageFormatInfo2 info{
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SPARSE_IMAGE_FORMAT_INFO_2,
        nullptr,
        VK_FORMAT_R8_UNORM,
        VK_IMAGE_TYPE_2D,
        VK_SAMPLE_COUNT_1_BIT,
        VK_IMAGE_USAGE_SAMPLED_BIT,
        VK_IMAGE_TILING_OPTIMAL};
    vk::vkGetPhysicalDeviceSparseImageFormatProperties2(physical_device_, &info, &count,
                                                        properties);
    return count;
  }

  // The struct lies in memory that was `garbage` before, so that its padding still is.
  VkResult AskImageFormat(int garbage) {
    alignas(8) std::byte bytes[sizeof(VkPhysicalDeviceImageFormatInfo2)];
    std::memset(bytes, garbage, sizeof(bytes));
    auto& info = *reinterpret_cast<VkPhysicalDeviceImageFormatInfo2*>(bytes);
    info.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2;
    info.pNext = nullptr;
    info.format = VK_FORMAT_R8_UNORM;
    info.type = VK_IMAGE_TYPE_2D;
    info.tiling = VK_IMAGE_TILING_OPTIMAL;
    info.usage = VK_IMAGE_USAGE_SAMPLED_BIT;
    info.flags = 0;
    VkImageFormatProperties2 properties{VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2};
    return vk::vkGetPhysicalDeviceImageFormatProperties2(physical_device_, &info, &properties);
  }

  VkImage MakeImage(VkFormat format) {
    const VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                 nullptr,
                                 0,
                                 VK_IMAGE_TYPE_2D,
                                 format,
                                 {8, 8, 1},
                                 1,
                                 1,
                                 VK_SAMPLE_COUNT_1_BIT,
                                 VK_IMAGE_TILING_OPTIMAL,
                                 VK_IMAGE_USAGE_SAMPLED_BIT};
    VkImage image = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateImage(device_, &info, nullptr, &image), VK_SUCCESS);
    return Keep(image);
  }

  VkDeviceSize size_ = 0;

  VkMemoryRequirements Requirements(VkImage image) {
    VkMemoryRequirements requirements{};
    vk::vkGetImageMemoryRequirements(device_, image, &requirements);
    return requirements;
  }
};

TEST_F(AnswersTest, TheSameQuestionIsAskedOnce) {
  Open();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Ask(VK_FORMAT_R8_UNORM), 100u + VK_FORMAT_R8_UNORM);
    EXPECT_EQ(Ask(VK_FORMAT_R8_SNORM), 100u + VK_FORMAT_R8_SNORM);
  }
  EXPECT_EQ(mock_.Count(kFormat), 2u);
}

TEST_F(AnswersTest, WhatIsToBeFilledInIsPartOfTheQuestion) {
  Open();
  mock_.On(number::vkGetPhysicalDeviceFormatProperties2, [](void* raw) {
    auto& args = *static_cast<proto::Args_vkGetPhysicalDeviceFormatProperties2*>(raw);
    if (args.pFormatProperties->pNext != nullptr) {
      static_cast<VkFormatProperties3*>(args.pFormatProperties->pNext)->bufferFeatures = 55;
    }
  });
  Ask(VK_FORMAT_R8_UNORM);
  for (int i = 0; i < 2; ++i) {
    VkFormatProperties3 more{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3};
    VkFormatProperties2 properties{VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_2, &more, {}};
    vk::vkGetPhysicalDeviceFormatProperties2(physical_device_, VK_FORMAT_R8_UNORM, &properties);
    EXPECT_EQ(more.bufferFeatures, 55u);
    EXPECT_EQ(properties.pNext, &more);
  }
  EXPECT_EQ(mock_.Count(kFormat), 2u);
}

TEST_F(AnswersTest, LayoutsThatWereMadeAlikeHaveTheSameSize) {
  Open();
  mock_.On(number::vkGetDescriptorSetLayoutSizeEXT, [](void* raw) {
    *static_cast<proto::Args_vkGetDescriptorSetLayoutSizeEXT*>(raw)->pLayoutSizeInBytes = 192;
  });
  const VkSamplerCreateInfo sampler_info{VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
  VkSampler sampler = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateSampler(device_, &sampler_info, nullptr, &sampler), VK_SUCCESS);
  const auto ask = [this](uint32_t count, const VkSampler* samplers) {
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_SAMPLER, count,
                                               VK_SHADER_STAGE_ALL, samplers};
    const VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                               nullptr, 0, 1, &binding};
    VkDescriptorSetLayout layout = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateDescriptorSetLayout(device_, &info, nullptr, &layout), VK_SUCCESS);
    VkDeviceSize size = 0;
    vk::vkGetDescriptorSetLayoutSizeEXT(device_, layout, &size);
    EXPECT_EQ(size, 192u);
    vk::vkDestroyDescriptorSetLayout(device_, layout, nullptr);
    return mock_.Count("vkGetDescriptorSetLayoutSizeEXT");
  };
  EXPECT_EQ(ask(1, nullptr), 1u);
  EXPECT_EQ(ask(1, nullptr), 1u);
  EXPECT_EQ(ask(2, nullptr), 2u) << "another layout";
  EXPECT_EQ(ask(1, &sampler), 3u);
  EXPECT_EQ(ask(1, &sampler), 4u) << "the name of a sampler does not say what it is";
  vk::vkDestroySampler(device_, sampler, nullptr);
}

TEST_F(AnswersTest, RenderPassesThatWereMadeAlikeHaveTheSameGranularity) {
  Open();
  mock_.On(number::vkGetRenderAreaGranularity, [](void* raw) {
    *static_cast<proto::Args_vkGetRenderAreaGranularity*>(raw)->pGranularity = {16, 8};
  });
  const auto ask = [this](VkFormat format) {
    const VkAttachmentDescription attachment{0, format, VK_SAMPLE_COUNT_1_BIT};
    const VkSubpassDescription subpass{};
    const VkRenderPassCreateInfo info{
        VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO, nullptr, 0, 1, &attachment, 1, &subpass};
    VkRenderPass pass = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateRenderPass(device_, &info, nullptr, &pass), VK_SUCCESS);
    VkExtent2D granularity{};
    vk::vkGetRenderAreaGranularity(device_, pass, &granularity);
    EXPECT_EQ(granularity.width, 16u);
    EXPECT_EQ(granularity.height, 8u);
    vk::vkDestroyRenderPass(device_, pass, nullptr);
    return mock_.Count("vkGetRenderAreaGranularity");
  };
  EXPECT_EQ(ask(VK_FORMAT_R8_UNORM), 1u);
  EXPECT_EQ(ask(VK_FORMAT_R8_UNORM), 1u);
  EXPECT_EQ(ask(VK_FORMAT_R8_SNORM), 2u);
}

TEST_F(AnswersTest, PaddingIsNoPartOfTheQuestion) {
  Open();
  EXPECT_EQ(AskImageFormat(0x00), VK_SUCCESS);
  EXPECT_EQ(AskImageFormat(0xff), VK_SUCCESS);
  EXPECT_EQ(mock_.Count(kImageFormat), 1u);
}

TEST_F(AnswersTest, RoomOfAnArrayIsPartOfTheQuestionAndGarbageInItsPlaceIsNot) {
  Open();
  EXPECT_EQ(AskSparse(0xdeadbeef, nullptr), 3u);
  EXPECT_EQ(AskSparse(17, nullptr), 3u);
  EXPECT_EQ(mock_.Count(kSparseFormat), 1u);
  for (int i = 0; i < 2; ++i) {
    for (const uint32_t room : {1u, 2u, 3u, 5u}) {
      VkSparseImageFormatProperties2 properties[6] = {};
      for (VkSparseImageFormatProperties2& element : properties) {
        element.sType = VK_STRUCTURE_TYPE_SPARSE_IMAGE_FORMAT_PROPERTIES_2;
      }
      const uint32_t count = AskSparse(room, properties);
      ASSERT_EQ(count, std::min(room, 3u));
      for (uint32_t element = 0; element < 6; ++element) {
        EXPECT_EQ(properties[element].properties.imageGranularity.depth,
                  element < count ? 9 + element : 0);
      }
    }
  }
  EXPECT_EQ(mock_.Count(kSparseFormat), 5u);
}

TEST_F(AnswersTest, AFormatThatIsNotSupportedIsAFactAndMemoryThatIsOutIsNone) {
  Open();
  mock_.FailNext(number::vkGetPhysicalDeviceImageFormatProperties2, VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(AskImageFormat(0), VK_ERROR_OUT_OF_HOST_MEMORY);
  mock_.FailNext(number::vkGetPhysicalDeviceImageFormatProperties2, VK_ERROR_FORMAT_NOT_SUPPORTED);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(AskImageFormat(0), VK_ERROR_FORMAT_NOT_SUPPORTED);
  }
  EXPECT_EQ(mock_.Count(kImageFormat), 2u);
}

TEST_F(AnswersTest, ImagesThatWereCreatedAlikeAreAskedAboutOnce) {
  Open();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Requirements(MakeImage(VK_FORMAT_R8_UNORM)).size, 4096u);
    EXPECT_EQ(Requirements(MakeImage(VK_FORMAT_R8G8_UNORM)).size, 4096u);
  }
  EXPECT_EQ(mock_.Count("vkGetImageMemoryRequirements2"), 2u);
}

TEST_F(AnswersTest, BuffersOfOtherSizesFollow) {
  mock_.On(number::vkGetBufferMemoryRequirements2, [this](void* raw) {
    auto& args = *static_cast<proto::Args_vkGetBufferMemoryRequirements2*>(raw);
    args.pMemoryRequirements->memoryRequirements = {(size_ + 255) & ~255ull, 256, 5};
    for (auto* next = static_cast<VkBaseOutStructure*>(args.pMemoryRequirements->pNext);
         next != nullptr; next = next->pNext) {
      reinterpret_cast<VkMemoryDedicatedRequirements*>(next)->prefersDedicatedAllocation =
          size_ > 100'000;
    }
  });
  Open();
  const auto ask = [this](VkDeviceSize size, VkBufferUsageFlags usage, bool with_own) {
    size_ = size;
    const VkBufferMemoryRequirementsInfo2 info{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2,
                                               nullptr, Keep(CreateBuffer(size, usage))};
    VkMemoryDedicatedRequirements own{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS, nullptr,
                                      VK_TRUE, VK_TRUE};
    VkMemoryRequirements2 requirements{
        VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, with_own ? &own : nullptr, {}};
    vk::vkGetBufferMemoryRequirements2(device_, &info, &requirements);
    EXPECT_EQ(requirements.memoryRequirements.size, (size + 255) & ~255ull);
    EXPECT_EQ(requirements.memoryRequirements.alignment, 256u);
    EXPECT_EQ(requirements.memoryRequirements.memoryTypeBits, 5u);
    EXPECT_EQ(own.prefersDedicatedAllocation, with_own ? size > 100'000 : VK_TRUE);
    return mock_.Count("vkGetBufferMemoryRequirements2");
  };
  constexpr VkBufferUsageFlags kUse = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
  EXPECT_EQ(ask(200, kUse, false), 1u);
  EXPECT_EQ(ask(512, kUse, false), 1u);
  EXPECT_EQ(ask(40, kUse, false), 2u) << "is it rounded up?";
  EXPECT_EQ(ask(513, kUse, false), 2u) << "it is";
  EXPECT_EQ(ask(513, VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT, false), 3u);
  EXPECT_EQ(ask(5000, kUse, true), 4u);
  EXPECT_EQ(ask(4000, kUse, true), 4u);
  EXPECT_EQ(ask(200'000, kUse, true), 5u);
  EXPECT_EQ(ask(200'000, kUse, true), 5u);
  EXPECT_EQ(ask(150'000, kUse, true), 6u);
  EXPECT_EQ(ask(300'000, kUse, false), 6u);
}

TEST_F(AnswersTest, WhatTheHostCouldNotMakeSaysNothingAboutOthers) {
  Open();
  const VkImage image = MakeImage(VK_FORMAT_R8_UNORM);
  // Gone on the host, and the guest does not know: as if it had been posted and had failed.
  client::Device& device = client::Device::From(device_);
  const proto::Args_vkDestroyImage args{device_, image, nullptr};
  device.session().Post(number::vkDestroyImage, &args);
  EXPECT_NE(Requirements(image).size, 4096u) << "made up";
  EXPECT_EQ(Requirements(MakeImage(VK_FORMAT_R8_UNORM)).size, 4096u);
}

TEST_F(AnswersTest, LayoutsOfOptimalImagesAreAskedForEachTime) {
  Open();
  for (int i = 0; i < 2; ++i) {
    const VkImageSubresource subresource{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
    VkSubresourceLayout layout{};
    vk::vkGetImageSubresourceLayout(device_, MakeImage(VK_FORMAT_R8_UNORM), &subresource, &layout);
  }
  EXPECT_EQ(mock_.Count("vkGetImageSubresourceLayout"), 2u);
}

TEST_F(AnswersTest, QuestionsThatNameOtherObjectsAreAskedEachTime) {
  Open();
  const VkSamplerCreateInfo sampler_info{VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO};
  VkSampler sampler = VK_NULL_HANDLE;
  ASSERT_EQ(vk::vkCreateSampler(device_, &sampler_info, nullptr, &sampler), VK_SUCCESS);
  for (const VkSampler* immutable :
       {static_cast<const VkSampler*>(nullptr), static_cast<const VkSampler*>(&sampler)}) {
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_SAMPLER, 1,
                                               VK_SHADER_STAGE_ALL, immutable};
    const VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                               nullptr, 0, 1, &binding};
    VkDescriptorSetLayoutSupport support{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_SUPPORT};
    vk::vkGetDescriptorSetLayoutSupport(device_, &info, &support);
    vk::vkGetDescriptorSetLayoutSupport(device_, &info, &support);
  }
  EXPECT_EQ(mock_.Count("vkGetDescriptorSetLayoutSupport"), 1u + 2u);
  vk::vkDestroySampler(device_, sampler, nullptr);
}

TEST_F(AnswersTest, DevicesWithOtherFeaturesAreOtherDevices) {
  Open();
  const VkBufferCreateInfo buffer{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, nullptr, 0, 64,
                                  VK_BUFFER_USAGE_STORAGE_BUFFER_BIT};
  const auto ask = [&](VkDevice device) {
    const VkDeviceBufferMemoryRequirements info{VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS,
                                                nullptr, &buffer};
    VkMemoryRequirements2 requirements{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    vk::vkGetDeviceBufferMemoryRequirements(device, &info, &requirements);
  };
  const float priority = 1;
  const VkDeviceQueueCreateInfo queue{
      VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 0, 1, &priority};
  for (const VkBool32 robust : {VK_FALSE, VK_TRUE, VK_TRUE}) {
    VkPhysicalDeviceFeatures features{};
    features.robustBufferAccess = robust;
    VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, nullptr, 0, 1, &queue};
    info.pEnabledFeatures = &features;
    VkDevice device = VK_NULL_HANDLE;
    ASSERT_EQ(vk::vkCreateDevice(physical_device_, &info, nullptr, &device), VK_SUCCESS);
    ask(device);
    ask(device);
    vk::vkDestroyDevice(device, nullptr);
  }
  EXPECT_EQ(mock_.Count("vkGetDeviceBufferMemoryRequirements"), 2u);
}

TEST_F(AnswersTest, SyncAndOffAskEachTime) {
  for (const bool sync : {true, false}) {
    environment_.debug_sync = sync;
    environment_.cache = sync;
    Open();
    Ask(VK_FORMAT_R8_UNORM);
    Ask(VK_FORMAT_R8_UNORM);
    EXPECT_EQ(mock_.Count(kFormat), 2u);
    DestroyAll();
  }
}

class AnswersOnDisk : public AnswersTest {
 protected:
  void SetUp() override {
    AnswersTest::SetUp();
    environment_.cache_folder = folder_.Path("cache");
  }

  std::string TheFile() {
    std::string path;
    for (const auto& entry : std::filesystem::directory_iterator(environment_.cache_folder)) {
      EXPECT_EQ(path, "") << "more than one file";
      path = entry.path();
    }
    return path;
  }

  const TemporaryFolder folder_;
};

TEST_F(AnswersOnDisk, TheNextSessionKnows) {
  for (int i = 0; i < 3; ++i) {
    Open();
    EXPECT_EQ(Ask(VK_FORMAT_R8_UNORM), 100u + VK_FORMAT_R8_UNORM);
    EXPECT_EQ(Requirements(MakeImage(VK_FORMAT_R8_UNORM)).size, 4096u);
    EXPECT_EQ(mock_.Count(kFormat), i == 0 ? 1u : 0u);
    EXPECT_EQ(mock_.Count("vkGetImageMemoryRequirements2"), i == 0 ? 1u : 0u);
    DestroyAll();
  }
}

TEST_F(AnswersOnDisk, AnotherDriverIsAskedAnew) {
  Open();
  Ask(VK_FORMAT_R8_UNORM);
  DestroyAll();
  mock_.SetDriverVersion(2);
  Open();
  Ask(VK_FORMAT_R8_UNORM);
  EXPECT_EQ(mock_.Count(kFormat), 1u);
  DestroyAll();
  mock_.SetDriverVersion(1);
  Open();
  Ask(VK_FORMAT_R8_UNORM);
  EXPECT_EQ(mock_.Count(kFormat), 0u) << "both are remembered";
}

// Good checksums, and replies that are none.
TEST_F(AnswersOnDisk, AnAnswerThatIsNoReplyIsForgottenAndAskedAnew) {
  Open();
  Ask(VK_FORMAT_R8_UNORM);
  VkSparseImageFormatProperties2 properties[3] = {};
  for (VkSparseImageFormatProperties2& element : properties) {
    element.sType = VK_STRUCTURE_TYPE_SPARSE_IMAGE_FORMAT_PROPERTIES_2;
  }
  ASSERT_EQ(AskSparse(2, properties), 2u);
  DestroyAll();

  const std::string path = TheFile();
  const std::string name = std::filesystem::path(path).filename();
  const proto::Hash128 identity{std::stoull(name.substr(24), nullptr, 16),
                                std::stoull(name.substr(8, 16), nullptr, 16)};
  std::vector<client::Answer> answers = client::LoadAnswers(environment_.cache_folder, identity);
  ASSERT_EQ(answers.size(), 2u);
  for (client::Answer& answer : answers) {
    auto cut = std::make_shared<std::vector<std::byte>>(*answer.reply);
    cut->resize(cut->size() - 8);
    // The count of the array, behind the image: as much as there is room for nowhere.
    for (size_t i = 0; i + 4 <= cut->size(); i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, cut->data() + i, 4);
      if (word == 2) {
        word = 1000;
        std::memcpy(cut->data() + i, &word, 4);
      }
    }
    answer.reply = cut;
  }
  std::filesystem::remove(path);
  ASSERT_TRUE(client::SaveAnswers(environment_.cache_folder, identity, answers));

  Open();
  EXPECT_EQ(Ask(VK_FORMAT_R8_UNORM), 100u + VK_FORMAT_R8_UNORM);
  EXPECT_EQ(AskSparse(2, properties), 2u);
  EXPECT_EQ(properties[2].properties.imageGranularity.depth, 0u);
  EXPECT_EQ(mock_.Count(kFormat), 1u);
  EXPECT_EQ(mock_.Count(kSparseFormat), 1u);
  EXPECT_EQ(Ask(VK_FORMAT_R8_UNORM), 100u + VK_FORMAT_R8_UNORM);
  EXPECT_EQ(mock_.Count(kFormat), 1u);
}

}  // namespace
}  // namespace vesper::tests
