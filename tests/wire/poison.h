// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_WIRE_POISON_H_
#define VESPER_TESTS_WIRE_POISON_H_

#include <functional>
#include <map>
#include <string>

#include "tests/framework/wire_test.h"

namespace vesper::tests {

// How to create and destroy objects of one kind.
struct Kind {
  std::function<VkResult(uint64_t* handle)> create;
  std::function<void(uint64_t handle)> destroy;
  std::string destroyed_by;  ///< empty: with the pool
};

class Poison : public WireTest {
 protected:
  void SetUp() override {
    Open();
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 64};
    const VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                          nullptr,
                                          VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT,
                                          64,
                                          1,
                                          &size};
    ASSERT_EQ(vk::vkCreateDescriptorPool(device_, &info, nullptr, &sets_), VK_SUCCESS);
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                               VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    const VkDescriptorSetLayoutCreateInfo layout{
        VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, 1, &binding};
    ASSERT_EQ(vk::vkCreateDescriptorSetLayout(device_, &layout, nullptr, &layout_), VK_SUCCESS);
    AddKinds();
    Sync();
    mock_.Clear();
  }

  void TearDown() override {
    vk::vkDestroyDescriptorSetLayout(device_, layout_, nullptr);
    vk::vkDestroyDescriptorPool(device_, sets_, nullptr);
  }

  // Most commands have this form.
  template <typename Info, typename Handle>
  void Add(uint16_t command, const char* destroyed_by,
           VkResult(VKAPI_PTR* create)(VkDevice, const Info*, const VkAllocationCallbacks*,
                                       Handle*),
           void(VKAPI_PTR* destroy)(VkDevice, Handle, const VkAllocationCallbacks*),
           const Info& info) {
    kinds_[command] = {[this, create, info](uint64_t* handle) {
                         return create(device_, &info, nullptr, reinterpret_cast<Handle*>(handle));
                       },
                       [this, destroy](uint64_t handle) {
                         destroy(device_, reinterpret_cast<Handle>(handle), nullptr);
                       },
                       destroyed_by};
  }

  void AddKinds();
  void AddPipelines();
  // Fails each in turn; counts those that the program did not hear of at once.
  void TryEveryCommand(size_t* posted);
  VkDescriptorSet AllocateSet();
  // A failure is told once, by the first call that may tell it.
  void ExpectOneError(VkResult error);

  std::map<uint16_t, Kind> kinds_;
  VkDescriptorPool sets_ = VK_NULL_HANDLE;
  VkDescriptorSetLayout layout_ = VK_NULL_HANDLE;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_WIRE_POISON_H_
