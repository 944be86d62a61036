// SPDX-License-Identifier: Apache-2.0
// Graphics pipelines: vertex input, dynamic state, specialization, blending, and the pointers that
// a program may leave as rubbish because the specification says that they are ignored.
#include "tests/framework/graphics_pipeline.h"

#include <cstdint>
#include <cstring>

#include "shaders/color_frag.h"
#include "shaders/quad_vert.h"
#include "shaders/storage_only_vert.h"
#include "shaders/vertex_input_vert.h"
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

class GraphicsPipelineTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    target_ = MakeImage(gpu(), ImageInfo(kRgba, kSide, kSide, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT));
    view_ = MakeView(gpu(), target_);
    quad_ = MakeShader(gpu(), kQuadVert);
    color_ = MakeShader(gpu(), kColorFrag);
    layout_ = MakePipelineLayout(gpu(), {}, VK_SHADER_STAGE_VERTEX_BIT, sizeof(Push));
  }

  // The two stages that most tests use.
  void AddQuadStages(GraphicsState& state, const VkSpecializationInfo* specialization = nullptr) {
    state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, quad_);
    state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_, specialization);
    state.layout = layout_;
  }

  void PushQuad(VkCommandBuffer commands, const Push& push) {
    vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(push), &push);
  }

  // Draws into the cleared target and returns its texels.
  std::vector<uint8_t> Render(const Recorder& draw, const VkClearColorValue& clear = {}) {
    Execute([&](VkCommandBuffer commands) {
      Transition(commands, target_.handle, VK_IMAGE_LAYOUT_UNDEFINED,
                 VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
      BeginColorRendering(gpu(), commands, view_, kSide, kSide, clear);
      SetArea(gpu(), commands, kSide, kSide);
      draw(commands);
      vk.CmdEndRendering(commands);
    });
    return ReadImage(gpu(), target_, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, 4);
  }

  std::vector<uint8_t> RenderQuad(VkPipeline pipeline, const Push& push,
                                  const VkClearColorValue& clear = {}) {
    return Render(
        [&](VkCommandBuffer commands) {
          vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
          PushQuad(commands, push);
          vk.CmdDraw(commands, 6, 1, 0, 0);
        },
        clear);
  }

  static Texel At(const std::vector<uint8_t>& texels, size_t x, size_t y) {
    const auto begin = texels.begin() + static_cast<std::ptrdiff_t>((y * kSide + x) * 4);
    return {begin, begin + 4};
  }

  Image target_;
  Owned<VkImageView> view_;
  Owned<VkShaderModule> quad_;
  Owned<VkShaderModule> color_;
  Owned<VkPipelineLayout> layout_;
};

TEST_F(GraphicsPipelineTest, DrawsWhereItShould) {
  GraphicsState state;
  AddQuadStages(state);
  const Push push{{-1, -1, 0, 0.5f}, {1, 0, 0.2f, 1}, 0};
  const std::vector<uint8_t> texels =
      RenderQuad(state.Build(gpu()), push, {.float32 = {0, 0, 1, 1}});
  for (size_t y = 0; y < kSide; ++y) {
    for (size_t x = 0; x < kSide; ++x) {
      const Texel expected = x < 8 && y < 12 ? Texel{255, 0, 51, 255} : Texel{0, 0, 255, 255};
      ASSERT_EQ(expected, At(texels, x, y)) << x << ", " << y;
    }
  }
}

TEST_F(GraphicsPipelineTest, VertexAndInstanceData) {
  struct Vertex {
    float position[2];
    uint8_t color[4];
  };
  const Buffer buffer = MakeHostBuffer(
      gpu(), 4096,
      kTransferUsage | VK_BUFFER_USAGE_VERTEX_BUFFER_BIT | VK_BUFFER_USAGE_INDEX_BUFFER_BIT);
  // Four corners of a quarter of the target, six indices, two instances.
  const Vertex vertices[4] = {{{-1, -1}, {255, 128, 0, 255}},
                              {{0, -1}, {255, 128, 0, 255}},
                              {{-1, 0}, {255, 128, 0, 255}},
                              {{0, 0}, {255, 128, 0, 255}}};
  const uint16_t indices[6] = {0, 1, 2, 2, 1, 3};
  const float offsets[4] = {0, 0, 1, 1};
  std::memcpy(buffer.data + 64, vertices, sizeof(vertices));
  std::memcpy(buffer.data + 512, indices, sizeof(indices));
  std::memcpy(buffer.data + 1024, offsets, sizeof(offsets));
  const Owned<VkShaderModule> vertex = MakeShader(gpu(), kVertexInputVert);
  GraphicsState state;
  state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, vertex);
  state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, color_);
  state.layout = layout_;
  state.vertex_bindings = {{0, sizeof(Vertex), VK_VERTEX_INPUT_RATE_VERTEX},
                           {1, 8, VK_VERTEX_INPUT_RATE_INSTANCE}};
  state.vertex_attributes = {{0, 0, VK_FORMAT_R32G32_SFLOAT, 0},
                             {1, 0, VK_FORMAT_R8G8B8A8_UNORM, 8},
                             {2, 1, VK_FORMAT_R32G32_SFLOAT, 0}};
  const Owned<VkPipeline> pipeline = state.Build(gpu());
  for (const bool second_generation : {false, true}) {
    const std::vector<uint8_t> texels = Render([&](VkCommandBuffer commands) {
      const VkBuffer handles[2] = {buffer.handle, buffer.handle};
      const VkDeviceSize starts[2] = {64, 1024};
      const VkDeviceSize sizes[2] = {sizeof(vertices), sizeof(offsets)};
      vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
      if (second_generation) {
        vk.CmdBindVertexBuffers2(commands, 0, 2, handles, starts, sizes, nullptr);
        vk.CmdBindIndexBuffer2(commands, buffer.handle, 512, sizeof(indices), VK_INDEX_TYPE_UINT16);
      } else {
        vk.CmdBindVertexBuffers(commands, 0, 2, handles, starts);
        vk.CmdBindIndexBuffer(commands, buffer.handle, 512, VK_INDEX_TYPE_UINT16);
      }
      vk.CmdDrawIndexed(commands, 6, 2, 0, 0, 0);
    });
    EXPECT_EQ((Texel{255, 128, 0, 255}), At(texels, 2, 2));
    EXPECT_EQ((Texel{255, 128, 0, 255}), At(texels, 13, 13));
    EXPECT_EQ((Texel{0, 0, 0, 0}), At(texels, 13, 2));
    EXPECT_EQ((Texel{0, 0, 0, 0}), At(texels, 2, 13));
  }
}

TEST_F(GraphicsPipelineTest, IndirectDrawsReadMappedMemory) {
  const Buffer buffer =
      MakeHostBuffer(gpu(), 1024, kTransferUsage | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT);
  GraphicsState state;
  AddQuadStages(state);
  const Owned<VkPipeline> pipeline = state.Build(gpu());
  // Two draws; the count in a buffer too. The first draws three vertices of six: half the quad.
  const VkDrawIndirectCommand draws[2] = {{3, 1, 0, 0}, {3, 1, 3, 0}};
  std::memcpy(buffer.data + 16, draws, sizeof(draws));
  for (const uint32_t count : {2u, 1u, 0u}) {
    buffer.As<uint32_t>()[100] = count;
    const std::vector<uint8_t> texels = Render([&](VkCommandBuffer commands) {
      vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
      PushQuad(commands, Push{});
      if (features.v12.drawIndirectCount == VK_TRUE) {
        vk.CmdDrawIndirectCount(commands, buffer.handle, 16, buffer.handle, 400, 2,
                                sizeof(draws[0]));
      } else {
        vk.CmdDrawIndirect(commands, buffer.handle, 16, count, sizeof(draws[0]));
      }
    });
    EXPECT_EQ(count >= 1 ? 255 : 0, At(texels, 1, 1)[0]) << count;
    EXPECT_EQ(count >= 2 ? 255 : 0, At(texels, 14, 14)[0]) << count;
  }
}

TEST_F(GraphicsPipelineTest, SpecializedFragmentShader) {
  struct {
    float scale = 0.5f;
    VkBool32 swap = VK_TRUE;
  } values;
  const VkSpecializationMapEntry entries[2] = {{0, 0, 4}, {1, 4, 4}};
  const VkSpecializationInfo specialization{2, entries, sizeof(values), &values};
  GraphicsState state;
  AddQuadStages(state, &specialization);
  const Push push{{-1, -1, 1, 1}, {1, 0, 0.4f, 1}, 0};
  const std::vector<uint8_t> texels = RenderQuad(state.Build(gpu()), push);
  const Texel texel = At(texels, 5, 5);
  EXPECT_NEAR(51, texel[0], 1);
  EXPECT_EQ(0, texel[1]);
  EXPECT_NEAR(128, texel[2], 1);
}

TEST_F(GraphicsPipelineTest, Blending) {
  GraphicsState state;
  AddQuadStages(state);
  VkPipelineColorBlendAttachmentState& blend = state.blend_attachments[0];
  blend.blendEnable = VK_TRUE;
  blend.srcColorBlendFactor = VK_BLEND_FACTOR_CONSTANT_COLOR;
  blend.dstColorBlendFactor = VK_BLEND_FACTOR_ONE;
  blend.colorBlendOp = VK_BLEND_OP_ADD;
  blend.srcAlphaBlendFactor = VK_BLEND_FACTOR_ONE;
  blend.dstAlphaBlendFactor = VK_BLEND_FACTOR_ZERO;
  state.dynamic_states.push_back(VK_DYNAMIC_STATE_BLEND_CONSTANTS);
  const Owned<VkPipeline> pipeline = state.Build(gpu());
  const std::vector<uint8_t> texels = Render(
      [&](VkCommandBuffer commands) {
        vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
        const float constants[4] = {0.2f, 0.4f, 0.0f, 0.0f};
        vk.CmdSetBlendConstants(commands, constants);
        PushQuad(commands, Push{});
        vk.CmdDraw(commands, 6, 1, 0, 0);
      },
      {.float32 = {0.2f, 0, 0.6f, 0}});
  const Texel texel = At(texels, 8, 8);
  EXPECT_NEAR(102, texel[0], 1);
  EXPECT_NEAR(102, texel[1], 1);
  EXPECT_NEAR(153, texel[2], 1);
}

TEST_F(GraphicsPipelineTest, ExtendedDynamicState) {
  GraphicsState state;
  AddQuadStages(state);
  state.dynamic_states = {
      VK_DYNAMIC_STATE_VIEWPORT_WITH_COUNT, VK_DYNAMIC_STATE_SCISSOR_WITH_COUNT,
      VK_DYNAMIC_STATE_CULL_MODE,           VK_DYNAMIC_STATE_FRONT_FACE,
      VK_DYNAMIC_STATE_PRIMITIVE_TOPOLOGY,  VK_DYNAMIC_STATE_RASTERIZER_DISCARD_ENABLE,
      VK_DYNAMIC_STATE_DEPTH_BIAS_ENABLE,   VK_DYNAMIC_STATE_PRIMITIVE_RESTART_ENABLE,
      VK_DYNAMIC_STATE_LINE_WIDTH,          VK_DYNAMIC_STATE_DEPTH_TEST_ENABLE,
      VK_DYNAMIC_STATE_DEPTH_WRITE_ENABLE,  VK_DYNAMIC_STATE_DEPTH_COMPARE_OP,
      VK_DYNAMIC_STATE_STENCIL_TEST_ENABLE, VK_DYNAMIC_STATE_STENCIL_OP};
  state.viewport.viewportCount = 0;
  state.viewport.scissorCount = 0;
  const Owned<VkPipeline> pipeline = state.Build(gpu());
  const auto draw = [&](VkCullModeFlags cull, VkBool32 discard, VkRect2D scissor) {
    return Render([&](VkCommandBuffer commands) {
      vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
      const VkViewport viewport{0, 0, kSide, kSide, 0, 1};
      vk.CmdSetViewportWithCount(commands, 1, &viewport);
      vk.CmdSetScissorWithCount(commands, 1, &scissor);
      vk.CmdSetCullMode(commands, cull);
      vk.CmdSetFrontFace(commands, VK_FRONT_FACE_CLOCKWISE);
      vk.CmdSetPrimitiveTopology(commands, VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST);
      vk.CmdSetRasterizerDiscardEnable(commands, discard);
      vk.CmdSetDepthBiasEnable(commands, VK_FALSE);
      vk.CmdSetPrimitiveRestartEnable(commands, VK_FALSE);
      vk.CmdSetLineWidth(commands, 1.0f);
      vk.CmdSetDepthTestEnable(commands, VK_FALSE);
      vk.CmdSetDepthWriteEnable(commands, VK_FALSE);
      vk.CmdSetDepthCompareOp(commands, VK_COMPARE_OP_ALWAYS);
      vk.CmdSetStencilTestEnable(commands, VK_FALSE);
      vk.CmdSetStencilOp(commands, VK_STENCIL_FACE_FRONT_AND_BACK, VK_STENCIL_OP_KEEP,
                         VK_STENCIL_OP_KEEP, VK_STENCIL_OP_KEEP, VK_COMPARE_OP_ALWAYS);
      PushQuad(commands, Push{});
      vk.CmdDraw(commands, 6, 1, 0, 0);
    });
  };
  const VkRect2D all{{0, 0}, {kSide, kSide}};
  EXPECT_EQ(255, At(draw(VK_CULL_MODE_NONE, VK_FALSE, all), 3, 3)[0]);
  // The quad's corners turn clockwise on the screen, so it shows its front.
  EXPECT_EQ(255, At(draw(VK_CULL_MODE_BACK_BIT, VK_FALSE, all), 3, 3)[0]);
  EXPECT_EQ(0, At(draw(VK_CULL_MODE_FRONT_BIT, VK_FALSE, all), 3, 3)[0]);
  EXPECT_EQ(0, At(draw(VK_CULL_MODE_NONE, VK_TRUE, all), 3, 3)[0]);
  const std::vector<uint8_t> part = draw(VK_CULL_MODE_NONE, VK_FALSE, {{8, 8}, {4, 4}});
  EXPECT_EQ(0, At(part, 7, 8)[0]);
  EXPECT_EQ(255, At(part, 8, 8)[0]);
  EXPECT_EQ(0, At(part, 12, 8)[0]);
}

TEST_F(GraphicsPipelineTest, StaticViewportAndScissor) {
  const VkViewport viewport{4, 4, 8, 8, 0, 1};
  const VkRect2D scissor{{0, 0}, {8, kSide}};
  GraphicsState state;
  AddQuadStages(state);
  state.dynamic_states.clear();
  state.viewport.pViewports = &viewport;
  state.viewport.pScissors = &scissor;
  const std::vector<uint8_t> texels = RenderQuad(state.Build(gpu()), Push{});
  EXPECT_EQ(255, At(texels, 4, 4)[0]);
  EXPECT_EQ(255, At(texels, 7, 11)[0]);
  EXPECT_EQ(0, At(texels, 8, 8)[0]);
  EXPECT_EQ(0, At(texels, 3, 4)[0]);
}

TEST_F(GraphicsPipelineTest, IgnoredPointersMayBeRubbish) {
  // The specification says that these are not looked at; a driver that serialises them all would
  // walk into the woods.
  VESPER_REQUIRE(features.core.features.vertexPipelineStoresAndAtomics == VK_TRUE);
  const auto rubbish = [](auto*& pointer) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(uintptr_t{0xBAD0});
  };
  const Buffer buffer = MakeHostBuffer(gpu(), 64);
  const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                             VK_SHADER_STAGE_VERTEX_BIT, nullptr};
  const Owned<VkDescriptorSetLayout> set_layout = MakeSetLayout(gpu(), {&binding, 1});
  const Owned<VkPipelineLayout> layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
  const Owned<VkDescriptorPool> pool = MakePool(gpu(), {&size, 1}, 1);
  VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  WriteBufferDescriptor(gpu(), set, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffer.handle);
  const Owned<VkShaderModule> vertex = MakeShader(gpu(), kStorageOnlyVert);

  // Without rasterization: nothing behind it counts.
  GraphicsState state;
  state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, vertex);
  state.layout = layout;
  state.dynamic_states.clear();
  state.rasterization.rasterizerDiscardEnable = VK_TRUE;
  VkGraphicsPipelineCreateInfo& info = state.Link();
  rubbish(info.pViewportState);
  rubbish(info.pMultisampleState);
  rubbish(info.pDepthStencilState);
  rubbish(info.pColorBlendState);
  rubbish(info.pTessellationState);
  VkPipeline pipeline = VK_NULL_HANDLE;
  ASSERT_EQ(VK_SUCCESS,
            vk.CreateGraphicsPipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline));
  Render([&](VkCommandBuffer commands) {
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
    vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, layout, 0, 1, &set, 0,
                             nullptr);
    vk.CmdDraw(commands, 3, 1, 2, 0);
  });
  EXPECT_EQ(0u, buffer.As<uint32_t>()[1]);
  EXPECT_EQ(1002u, buffer.As<uint32_t>()[2]);
  EXPECT_EQ(1004u, buffer.As<uint32_t>()[4]);
  vk.DestroyPipeline(device, pipeline, nullptr);

  // With rasterization: what dynamic state replaces, and what no stage uses.
  GraphicsState drawing;
  AddQuadStages(drawing);
  drawing.dynamic_states.push_back(VK_DYNAMIC_STATE_VERTEX_INPUT_BINDING_STRIDE);
  drawing.Link();
  rubbish(drawing.viewport.pViewports);
  rubbish(drawing.viewport.pScissors);
  rubbish(drawing.info.pTessellationState);
  rubbish(drawing.info.pDepthStencilState);  // There is no depth or stencil attachment.
  ASSERT_EQ(VK_SUCCESS, vk.CreateGraphicsPipelines(device, VK_NULL_HANDLE, 1, &drawing.info,
                                                   nullptr, &pipeline));
  EXPECT_EQ(255, At(RenderQuad(pipeline, Push{}), 8, 8)[0]);
  vk.DestroyPipeline(device, pipeline, nullptr);
}

TEST_F(GraphicsPipelineTest, SeveralInOneCall) {
  GraphicsState states[3];
  std::vector<VkGraphicsPipelineCreateInfo> infos;
  for (int i = 0; i < 3; ++i) {
    AddQuadStages(states[i]);
    states[i].blend_attachments[0].colorWriteMask = 1u << i;
    infos.push_back(states[i].Link());
  }
  infos[0].flags = VK_PIPELINE_CREATE_ALLOW_DERIVATIVES_BIT;
  infos[1].flags = VK_PIPELINE_CREATE_DERIVATIVE_BIT;
  infos[1].basePipelineIndex = 0;
  VkPipeline pipelines[3] = {};
  ASSERT_EQ(VK_SUCCESS, vk.CreateGraphicsPipelines(device, VK_NULL_HANDLE, 3, infos.data(), nullptr,
                                                   pipelines));
  for (size_t i = 0; i < 3; ++i) {
    const Texel texel = At(RenderQuad(pipelines[i], Push{}), 8, 8);
    for (size_t channel = 0; channel < 4; ++channel) {
      EXPECT_EQ(channel == i ? 255 : 0, texel[channel]);
    }
    vk.DestroyPipeline(device, pipelines[i], nullptr);
  }
}

}  // namespace
}  // namespace vesper::tests
