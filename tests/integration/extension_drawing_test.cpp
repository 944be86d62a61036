// SPDX-License-Identifier: Apache-2.0
// Extensions that add ways to draw or state to draw with. Each test asks for its own extension and
// is left out where the driver has none.
#include <cstdint>
#include <cstring>

#include "shaders/color_frag.h"
#include "shaders/feedback_vert.h"
#include "shaders/quad_vert.h"
#include "shaders/triangle_mesh.h"
#include "shaders/vertex_input_vert.h"
#include "tests/framework/graphics_pipeline.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkFormat kRgba = VK_FORMAT_R8G8B8A8_UNORM;
constexpr uint32_t kSide = 16;

struct Push {
  float rect[4] = {-1, -1, 1, 1};
  float color[4] = {1, 1, 1, 1};
  float depth = 0;
};

using Texel = std::vector<uint8_t>;

class ExtensionDrawingTest : public ::testing::Test, public Gpu {
 protected:
  void SetUp() override { OpenInstance(); }

  // Opens the device with the extensions and what `features` chains; false where one is missing.
  bool OpenWith(const std::vector<const char*>& extensions, void* device_features) {
    for (const char* extension : extensions) {
      if (!HasDeviceExtension(extension)) {
        return false;
      }
    }
    GpuOptions options;
    options.device_extensions = extensions;
    options.device_features = device_features;
    OpenDevice(options);
    target_ = MakeImage(*this, ImageInfo(kRgba, kSide, kSide, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT));
    view_ = MakeView(*this, target_);
    quad_ = MakeShader(*this, kQuadVert);
    color_ = MakeShader(*this, kColorFrag);
    layout_ = MakePipelineLayout(*this, {}, kPushStages, sizeof(Push));
    return true;
  }

  void AddQuadStages(GraphicsState& state) {
    state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, quad_);
    state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_);
    state.layout = layout_;
  }

  void PushQuad(VkCommandBuffer commands, const Push& push) {
    vk.CmdPushConstants(commands, layout_, kPushStages, 0, sizeof(push), &push);
  }

  std::vector<uint8_t> Render(const Recorder& draw) {
    Execute([&](VkCommandBuffer commands) {
      Transition(commands, target_.handle, VK_IMAGE_LAYOUT_UNDEFINED,
                 VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
      BeginColorRendering(*this, commands, view_, kSide, kSide, {});
      SetArea(*this, commands, kSide, kSide);
      draw(commands);
      vk.CmdEndRendering(commands);
    });
    return ReadImage(*this, target_, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, 4);
  }

  static Texel At(const std::vector<uint8_t>& texels, size_t x, size_t y) {
    const auto begin = texels.begin() + static_cast<std::ptrdiff_t>((y * kSide + x) * 4);
    return {begin, begin + 4};
  }

  static constexpr VkShaderStageFlags kPushStages = VK_SHADER_STAGE_ALL;
  Image target_;
  Owned<VkImageView> view_;
  Owned<VkShaderModule> quad_;
  Owned<VkShaderModule> color_;
  Owned<VkPipelineLayout> layout_;
};

TEST_F(ExtensionDrawingTest, MeshShader) {
  VkPhysicalDeviceMeshShaderFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MESH_SHADER_FEATURES_EXT};
  feature.meshShader = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_mesh_shader"}, &feature));
  const Owned<VkShaderModule> mesh = MakeShader(*this, kTriangleMesh);
  GraphicsState state;
  state.AddStage(VK_SHADER_STAGE_MESH_BIT_EXT, mesh);
  state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_);
  state.layout = layout_;
  state.Link();
  // Without vertex input these two count for nothing, and may be rubbish.
  state.info.pVertexInputState =
      reinterpret_cast<const VkPipelineVertexInputStateCreateInfo*>(uintptr_t{0xBAD0});
  state.info.pInputAssemblyState =
      reinterpret_cast<const VkPipelineInputAssemblyStateCreateInfo*>(uintptr_t{0xBAD0});
  VkPipeline pipeline = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS,
            vk.CreateGraphicsPipelines(device, VK_NULL_HANDLE, 1, &state.info, nullptr, &pipeline));
  const auto draw = vk.Find<PFN_vkCmdDrawMeshTasksEXT>(device, "vkCmdDrawMeshTasksEXT");
  ASSERT_NE(nullptr, draw);
  const std::vector<uint8_t> texels = Render([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    PushQuad(commands, {{}, {0.2f, 0.4f, 0.6f, 1}, 0});
    draw(commands, 1, 1, 1);
  });
  EXPECT_EQ((Texel{51, 102, 153, 255}), At(texels, 12, 12));
  vk.DestroyPipeline(device, pipeline, nullptr);
}

TEST_F(ExtensionDrawingTest, TransformFeedbackIntoMappedMemory) {
  VkPhysicalDeviceTransformFeedbackFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TRANSFORM_FEEDBACK_FEATURES_EXT};
  feature.transformFeedback = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_transform_feedback"}, &feature));
  const auto bind = vk.Find<PFN_vkCmdBindTransformFeedbackBuffersEXT>(
      device, "vkCmdBindTransformFeedbackBuffersEXT");
  const auto begin =
      vk.Find<PFN_vkCmdBeginTransformFeedbackEXT>(device, "vkCmdBeginTransformFeedbackEXT");
  const auto end =
      vk.Find<PFN_vkCmdEndTransformFeedbackEXT>(device, "vkCmdEndTransformFeedbackEXT");
  ASSERT_TRUE(bind != nullptr && begin != nullptr && end != nullptr);
  const Buffer captured =
      MakeHostBuffer(*this, 256, VK_BUFFER_USAGE_TRANSFORM_FEEDBACK_BUFFER_BIT_EXT);
  const Buffer counter =
      MakeHostBuffer(*this, 64, VK_BUFFER_USAGE_TRANSFORM_FEEDBACK_COUNTER_BUFFER_BIT_EXT);
  const Owned<VkShaderModule> vertex = MakeShader(*this, kFeedbackVert);
  GraphicsState state;
  state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, vertex);
  state.layout = layout_;
  state.input_assembly.topology = VK_PRIMITIVE_TOPOLOGY_POINT_LIST;
  state.rasterization.rasterizerDiscardEnable = VK_TRUE;
  state.dynamic_states.clear();
  const Owned<VkPipeline> pipeline = state.Build(*this);
  Render([&](VkCommandBuffer commands) {
    const VkDeviceSize offset = 16;
    const VkDeviceSize size = 128;
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    bind(commands, 0, 1, captured.handle.address(), &offset, &size);
    begin(commands, 0, 0, nullptr, nullptr);
    vk.CmdDraw(commands, 5, 1, 3, 0);
    end(commands, 0, 1, counter.handle.address(), nullptr);
  });
  for (uint32_t i = 0; i < 5; ++i) {
    EXPECT_EQ(3 + i, captured.As<uint32_t>()[4 + 2 * i]);
    EXPECT_EQ(100 + (3 + i) * (3 + i), captured.As<uint32_t>()[5 + 2 * i]);
  }
  EXPECT_EQ(0u, captured.As<uint32_t>()[3]);
  EXPECT_EQ(0u, captured.As<uint32_t>()[14]);
  EXPECT_GT(counter.As<uint32_t>()[0], 0u);
}

TEST_F(ExtensionDrawingTest, ConditionalRenderingOnMappedMemory) {
  VkPhysicalDeviceConditionalRenderingFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_CONDITIONAL_RENDERING_FEATURES_EXT};
  feature.conditionalRendering = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_conditional_rendering"}, &feature));
  const auto begin =
      vk.Find<PFN_vkCmdBeginConditionalRenderingEXT>(device, "vkCmdBeginConditionalRenderingEXT");
  const auto end =
      vk.Find<PFN_vkCmdEndConditionalRenderingEXT>(device, "vkCmdEndConditionalRenderingEXT");
  ASSERT_TRUE(begin != nullptr && end != nullptr);
  const Buffer condition = MakeHostBuffer(*this, 64, VK_BUFFER_USAGE_CONDITIONAL_RENDERING_BIT_EXT);
  GraphicsState state;
  AddQuadStages(state);
  const Owned<VkPipeline> pipeline = state.Build(*this);
  for (const uint32_t value : {1u, 0u, 5u}) {
    condition.As<uint32_t>()[4] = value;
    const std::vector<uint8_t> texels = Render([&](VkCommandBuffer commands) {
      VkConditionalRenderingBeginInfoEXT info{
          VK_STRUCTURE_TYPE_CONDITIONAL_RENDERING_BEGIN_INFO_EXT};
      info.buffer = condition.handle;
      info.offset = 16;
      begin(commands, &info);
      vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
      PushQuad(commands, Push{});
      vk.CmdDraw(commands, 6, 1, 0, 0);
      end(commands);
    });
    EXPECT_EQ(value == 0 ? 0 : 255, At(texels, 3, 3)[0]) << value;
  }
}

TEST_F(ExtensionDrawingTest, MultiDraw) {
  VkPhysicalDeviceMultiDrawFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MULTI_DRAW_FEATURES_EXT};
  feature.multiDraw = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_multi_draw"}, &feature));
  const auto draw = vk.Find<PFN_vkCmdDrawMultiEXT>(device, "vkCmdDrawMultiEXT");
  const auto draw_indexed =
      vk.Find<PFN_vkCmdDrawMultiIndexedEXT>(device, "vkCmdDrawMultiIndexedEXT");
  ASSERT_TRUE(draw != nullptr && draw_indexed != nullptr);
  GraphicsState state;
  AddQuadStages(state);
  const Owned<VkPipeline> pipeline = state.Build(*this);
  // The caller's array has other things between the entries; the last of them is not drawn.
  struct Entry {
    VkMultiDrawInfoEXT info;
    uint32_t other = 0xFFFFFFFF;
  };
  const Entry entries[3] = {{{0, 3}}, {{3, 3}}, {{0, 0}}};
  std::vector<uint8_t> texels = Render([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    PushQuad(commands, Push{});
    draw(commands, 2, &entries[0].info, 1, 0, sizeof(Entry));
  });
  EXPECT_EQ(255, At(texels, 1, 1)[0]);
  EXPECT_EQ(255, At(texels, 14, 14)[0]);

  const Buffer indices = MakeHostBuffer(*this, 64, VK_BUFFER_USAGE_INDEX_BUFFER_BIT);
  for (uint16_t i = 0; i < 6; ++i) {
    indices.As<uint16_t>()[i] = static_cast<uint16_t>(5 - i);
  }
  const VkMultiDrawIndexedInfoEXT indexed[2] = {{0, 3, 77}, {3, 0, 77}};
  const int32_t vertex_offset = 0;
  texels = Render([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    vk.CmdBindIndexBuffer(commands, indices.handle, 0, VK_INDEX_TYPE_UINT16);
    PushQuad(commands, Push{});
    draw_indexed(commands, 2, indexed, 1, 0, sizeof(indexed[0]), &vertex_offset);
  });
  EXPECT_EQ(0, At(texels, 1, 1)[0]);
  EXPECT_EQ(255, At(texels, 14, 14)[0]);
}

TEST_F(ExtensionDrawingTest, DynamicVertexInput) {
  VkPhysicalDeviceVertexInputDynamicStateFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VERTEX_INPUT_DYNAMIC_STATE_FEATURES_EXT};
  feature.vertexInputDynamicState = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_vertex_input_dynamic_state"}, &feature));
  const auto set = vk.Find<PFN_vkCmdSetVertexInputEXT>(device, "vkCmdSetVertexInputEXT");
  ASSERT_NE(nullptr, set);
  const Buffer buffer = MakeHostBuffer(*this, 1024, VK_BUFFER_USAGE_VERTEX_BUFFER_BIT);
  const float positions[6] = {-1, -1, 3, -1, -1, 3};
  std::memcpy(buffer.data, positions, sizeof(positions));
  const uint8_t colors[12] = {0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255};
  std::memcpy(buffer.data + 256, colors, sizeof(colors));
  const Owned<VkShaderModule> vertex = MakeShader(*this, kVertexInputVert);
  GraphicsState state;
  state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, vertex);
  state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_);
  state.layout = layout_;
  state.dynamic_states.push_back(VK_DYNAMIC_STATE_VERTEX_INPUT_EXT);
  const Owned<VkPipeline> pipeline = state.Build(*this);
  VkVertexInputBindingDescription2EXT bindings[3] = {};
  VkVertexInputAttributeDescription2EXT attributes[3] = {};
  const VkFormat formats[3] = {VK_FORMAT_R32G32_SFLOAT, VK_FORMAT_R8G8B8A8_UNORM,
                               VK_FORMAT_R32G32_SFLOAT};
  for (uint32_t i = 0; i < 3; ++i) {
    bindings[i] = {VK_STRUCTURE_TYPE_VERTEX_INPUT_BINDING_DESCRIPTION_2_EXT};
    bindings[i].binding = i;
    bindings[i].stride = i == 1 ? 4 : 8;
    bindings[i].inputRate = i == 2 ? VK_VERTEX_INPUT_RATE_INSTANCE : VK_VERTEX_INPUT_RATE_VERTEX;
    bindings[i].divisor = 1;
    attributes[i] = {VK_STRUCTURE_TYPE_VERTEX_INPUT_ATTRIBUTE_DESCRIPTION_2_EXT};
    attributes[i].location = i;
    attributes[i].binding = i;
    attributes[i].format = formats[i];
  }
  const std::vector<uint8_t> texels = Render([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    const VkBuffer handles[3] = {buffer.handle, buffer.handle, buffer.handle};
    const VkDeviceSize offsets[3] = {0, 256, 512};
    vk.CmdBindVertexBuffers(commands, 0, 3, handles, offsets);
    set(commands, 3, bindings, 3, attributes);
    vk.CmdDraw(commands, 3, 1, 0, 0);
  });
  EXPECT_EQ((Texel{0, 255, 0, 255}), At(texels, 8, 8));
}

TEST_F(ExtensionDrawingTest, DynamicBlendingAndSampleMask) {
  VkPhysicalDeviceExtendedDynamicState3FeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTENDED_DYNAMIC_STATE_3_FEATURES_EXT};
  feature.extendedDynamicState3ColorBlendEnable = VK_TRUE;
  feature.extendedDynamicState3ColorBlendEquation = VK_TRUE;
  feature.extendedDynamicState3ColorWriteMask = VK_TRUE;
  feature.extendedDynamicState3SampleMask = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_extended_dynamic_state3"}, &feature));
  const auto set_enable =
      vk.Find<PFN_vkCmdSetColorBlendEnableEXT>(device, "vkCmdSetColorBlendEnableEXT");
  const auto set_equation =
      vk.Find<PFN_vkCmdSetColorBlendEquationEXT>(device, "vkCmdSetColorBlendEquationEXT");
  const auto set_mask = vk.Find<PFN_vkCmdSetColorWriteMaskEXT>(device, "vkCmdSetColorWriteMaskEXT");
  const auto set_samples = vk.Find<PFN_vkCmdSetSampleMaskEXT>(device, "vkCmdSetSampleMaskEXT");
  ASSERT_TRUE(set_enable != nullptr && set_equation != nullptr && set_mask != nullptr &&
              set_samples != nullptr);
  GraphicsState state;
  AddQuadStages(state);
  for (const VkDynamicState dynamic :
       {VK_DYNAMIC_STATE_COLOR_BLEND_ENABLE_EXT, VK_DYNAMIC_STATE_COLOR_BLEND_EQUATION_EXT,
        VK_DYNAMIC_STATE_COLOR_WRITE_MASK_EXT, VK_DYNAMIC_STATE_SAMPLE_MASK_EXT}) {
    state.dynamic_states.push_back(dynamic);
  }
  state.Link();
  // All that they hold is dynamic: the pointer counts for nothing, and may be rubbish. (So may the
  // sample mask's, but lavapipe looks at that one.)
  state.color_blend.pAttachments =
      reinterpret_cast<const VkPipelineColorBlendAttachmentState*>(uintptr_t{0xBAD0});
  VkPipeline pipeline = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS,
            vk.CreateGraphicsPipelines(device, VK_NULL_HANDLE, 1, &state.info, nullptr, &pipeline));
  const auto draw = [&](VkColorComponentFlags components, VkSampleMask samples) {
    return At(Render([&](VkCommandBuffer commands) {
                vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
                const VkBool32 enable = VK_FALSE;
                const VkColorBlendEquationEXT equation{VK_BLEND_FACTOR_ONE,  VK_BLEND_FACTOR_ZERO,
                                                       VK_BLEND_OP_ADD,      VK_BLEND_FACTOR_ONE,
                                                       VK_BLEND_FACTOR_ZERO, VK_BLEND_OP_ADD};
                set_enable(commands, 0, 1, &enable);
                set_equation(commands, 0, 1, &equation);
                set_mask(commands, 0, 1, &components);
                set_samples(commands, VK_SAMPLE_COUNT_1_BIT, &samples);
                PushQuad(commands, Push{});
                vk.CmdDraw(commands, 6, 1, 0, 0);
              }),
              8, 8);
  };
  EXPECT_EQ((Texel{255, 0, 0, 0}), draw(VK_COLOR_COMPONENT_R_BIT, 1));
  EXPECT_EQ((Texel{0, 255, 0, 255}), draw(VK_COLOR_COMPONENT_G_BIT | VK_COLOR_COMPONENT_A_BIT, 1));
  EXPECT_EQ((Texel{0, 0, 0, 0}), draw(VK_COLOR_COMPONENT_R_BIT, 0));
  vk.DestroyPipeline(device, pipeline, nullptr);
}

TEST_F(ExtensionDrawingTest, NestedSecondaryCommandBuffers) {
  VkPhysicalDeviceNestedCommandBufferFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_NESTED_COMMAND_BUFFER_FEATURES_EXT};
  feature.nestedCommandBuffer = VK_TRUE;
  VESPER_REQUIRE(OpenWith({"VK_EXT_nested_command_buffer"}, &feature));
  const Buffer buffer = MakeHostBuffer(*this, 64);
  const VkCommandBufferInheritanceInfo inheritance{
      VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  begin.pInheritanceInfo = &inheritance;
  VkCommandBuffer levels[2] = {};
  for (uint32_t i = 0; i < 2; ++i) {
    levels[i] = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
    ASSERT_EQ(VK_SUCCESS, vk.BeginCommandBuffer(levels[i], &begin));
    vk.CmdFillBuffer(levels[i], buffer.handle, 4 * i, 4, 40 + i);
    if (i == 1) {
      vk.CmdExecuteCommands(levels[1], 1, &levels[0]);
    }
    ASSERT_EQ(VK_SUCCESS, vk.EndCommandBuffer(levels[i]));
  }
  Execute([&](VkCommandBuffer commands) { vk.CmdExecuteCommands(commands, 1, &levels[1]); });
  EXPECT_EQ(40u, buffer.As<uint32_t>()[0]);
  EXPECT_EQ(41u, buffer.As<uint32_t>()[1]);
}

TEST_F(ExtensionDrawingTest, PipelineOfLibraries) {
  VkPhysicalDeviceGraphicsPipelineLibraryFeaturesEXT feature{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GRAPHICS_PIPELINE_LIBRARY_FEATURES_EXT};
  feature.graphicsPipelineLibrary = VK_TRUE;
  VESPER_REQUIRE(
      OpenWith({"VK_KHR_pipeline_library", "VK_EXT_graphics_pipeline_library"}, &feature));
  const auto rubbish = [](auto*& pointer) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(uintptr_t{0xBAD0});
  };
  std::vector<Owned<VkPipeline>> parts;
  for (const VkGraphicsPipelineLibraryFlagsEXT part :
       {VK_GRAPHICS_PIPELINE_LIBRARY_VERTEX_INPUT_INTERFACE_BIT_EXT,
        VK_GRAPHICS_PIPELINE_LIBRARY_PRE_RASTERIZATION_SHADERS_BIT_EXT,
        VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_SHADER_BIT_EXT,
        VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_OUTPUT_INTERFACE_BIT_EXT}) {
    GraphicsState state;
    state.layout = layout_;
    if (part == VK_GRAPHICS_PIPELINE_LIBRARY_PRE_RASTERIZATION_SHADERS_BIT_EXT) {
      state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, quad_);
    } else if (part == VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_SHADER_BIT_EXT) {
      state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_);
    }
    VkGraphicsPipelineCreateInfo& info = state.Link();
    VkGraphicsPipelineLibraryCreateInfoEXT library{
        VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_LIBRARY_CREATE_INFO_EXT};
    library.flags = part;
    library.pNext = const_cast<void*>(info.pNext);
    info.pNext = &library;
    info.flags = VK_PIPELINE_CREATE_LIBRARY_BIT_KHR;
    // What belongs to another part is not looked at.
    if (part != VK_GRAPHICS_PIPELINE_LIBRARY_VERTEX_INPUT_INTERFACE_BIT_EXT) {
      rubbish(info.pVertexInputState);
      rubbish(info.pInputAssemblyState);
    }
    if (part != VK_GRAPHICS_PIPELINE_LIBRARY_PRE_RASTERIZATION_SHADERS_BIT_EXT) {
      rubbish(info.pViewportState);
      rubbish(info.pRasterizationState);
      rubbish(info.pTessellationState);
    }
    if (part != VK_GRAPHICS_PIPELINE_LIBRARY_FRAGMENT_OUTPUT_INTERFACE_BIT_EXT) {
      rubbish(info.pColorBlendState);
    }
    VkPipeline pipeline = VK_NULL_HANDLE;
    ASSERT_EQ(VK_SUCCESS,
              vk.CreateGraphicsPipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline));
    parts.emplace_back(pipeline,
                       [this](VkPipeline object) { vk.DestroyPipeline(device, object, nullptr); });
  }
  const VkPipeline libraries[4] = {parts[0], parts[1], parts[2], parts[3]};
  VkPipelineLibraryCreateInfoKHR link{VK_STRUCTURE_TYPE_PIPELINE_LIBRARY_CREATE_INFO_KHR};
  link.libraryCount = 4;
  link.pLibraries = libraries;
  VkGraphicsPipelineCreateInfo info{VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO};
  info.pNext = &link;
  info.layout = layout_;
  VkPipeline pipeline = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS,
            vk.CreateGraphicsPipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline));
  const std::vector<uint8_t> texels = Render([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    PushQuad(commands, {{-1, -1, 0, 1}, {0, 0.2f, 1, 1}, 0});
    vk.CmdDraw(commands, 6, 1, 0, 0);
  });
  EXPECT_EQ((Texel{0, 51, 255, 255}), At(texels, 3, 8));
  EXPECT_EQ((Texel{0, 0, 0, 0}), At(texels, 12, 8));
  vk.DestroyPipeline(device, pipeline, nullptr);
}

}  // namespace
}  // namespace vesper::tests
