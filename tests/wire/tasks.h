// SPDX-License-Identifier: Apache-2.0
//
// What tests of the worker's tasks share: recordings, and compilations that take as long as the
// test wants.
#ifndef VESPER_TESTS_WIRE_TASKS_H_
#define VESPER_TESTS_WIRE_TASKS_H_

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "tests/framework/door.h"
#include "tests/framework/wire_test.h"

namespace vesper::tests {

class Tasks : public WireTest {
 protected:
  void SetUp() override {
    host_threads_ = 3;
    Open();
  }
  ~Tasks() override {
    door_.Open();
    if (compiler_.joinable()) {
      compiler_.join();
    }
    DestroyAll();
    host_->Finish();  // whose tasks use what is below
  }

  VkShaderModule CreateModule() {
    const uint32_t code[] = {0x07230203, 0x00010000, 0, 1, 0};
    const VkShaderModuleCreateInfo info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, nullptr, 0,
                                        sizeof(code), code};
    VkShaderModule module = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateShaderModule(device_, &info, nullptr, &module), VK_SUCCESS);
    return module;
  }
  VkPipelineLayout CreateLayout() {
    const VkPipelineLayoutCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
    VkPipelineLayout layout = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreatePipelineLayout(device_, &info, nullptr, &layout), VK_SUCCESS);
    return layout;
  }
  VkResult CreatePipeline(VkShaderModule module, VkPipelineLayout layout, VkPipeline* pipeline,
                          VkPipelineCache cache = VK_NULL_HANDLE) {
    const VkComputePipelineCreateInfo info{
        VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        nullptr,
        flags_,
        {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, nullptr, 0,
         VK_SHADER_STAGE_COMPUTE_BIT, module, "main", nullptr},
        layout,
        VK_NULL_HANDLE,
        0};
    return vk::vkCreateComputePipelines(device_, cache, 1, &info, nullptr, pipeline);
  }
  // Compiles on a thread of the program, and does not get through the driver before door_ opens.
  void CompileSlowly(VkPipelineCache cache = VK_NULL_HANDLE) {
    module_ = CreateModule();
    layout_ = CreateLayout();
    mock_.On(number::vkCreateComputePipelines, [this](void*) { door_.Pass(); });
    compiler_ = std::thread(
        [this, cache] { compiled_ = CreatePipeline(module_, layout_, &pipeline_, cache); });
    ASSERT_TRUE(door_.WaitFor(1));
  }
  void FinishCompiling() {
    door_.Open();
    compiler_.join();
    EXPECT_EQ(compiled_, VK_SUCCESS);
  }
  VkCommandPool CreatePool() {
    const VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr,
                                       VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, 0};
    VkCommandPool pool = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkCreateCommandPool(device_, &info, nullptr, &pool), VK_SUCCESS);
    return pool;
  }
  VkCommandBuffer AllocateFrom(VkCommandPool pool,
                               VkCommandBufferLevel level = VK_COMMAND_BUFFER_LEVEL_PRIMARY) {
    const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr,
                                           pool, level, 1};
    VkCommandBuffer buffer = VK_NULL_HANDLE;
    EXPECT_EQ(vk::vkAllocateCommandBuffers(device_, &info, &buffer), VK_SUCCESS);
    return buffer;
  }
  static void BeginOn(VkCommandBuffer buffer) {
    const VkCommandBufferInheritanceInfo inherited{
        VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
    const VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, 0,
                                        &inherited};
    EXPECT_EQ(vk::vkBeginCommandBuffer(buffer, &info), VK_SUCCESS);
  }
  // A recording of one dispatch, sent to the host.
  void RecordDispatch(VkCommandBuffer buffer) {
    BeginOn(buffer);
    vk::vkCmdDispatch(buffer, 1, 1, 1);
    EXPECT_EQ(vk::vkEndCommandBuffer(buffer), VK_SUCCESS);
  }
  // Replays of dispatches stop before door_.
  void StopDispatches() {
    mock_.On(number::vkCmdDispatch, [this](void*) { door_.Pass(); });
  }
  // Position of a call among all, or -1.
  int Position(const std::string& name) {
    const std::vector<std::string> names = mock_.Names();
    const auto found = std::find(names.begin(), names.end(), name);
    return found == names.end() ? -1 : static_cast<int>(found - names.begin());
  }

  Door door_;
  VkPipelineCreateFlags flags_ = 0;  // of the pipelines to come
  std::thread compiler_;
  VkResult compiled_ = VK_NOT_READY;
  VkShaderModule module_ = VK_NULL_HANDLE;
  VkPipelineLayout layout_ = VK_NULL_HANDLE;
  VkPipeline pipeline_ = VK_NULL_HANDLE;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_WIRE_TASKS_H_
