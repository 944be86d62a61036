// SPDX-License-Identifier: Apache-2.0
// Queries: occlusion, timestamps, pipeline statistics; results read by the host in all their
// shapes, copied by the device, and reset from both sides.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>

#include "shaders/color_frag.h"
#include "shaders/push_write_comp.h"
#include "shaders/quad_vert.h"
#include "tests/framework/graphics_pipeline.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkFormat kRgba = VK_FORMAT_R8G8B8A8_UNORM;
constexpr uint32_t kSide = 16;
constexpr uint64_t kUntouched = 0xABABABABABABABABull;

class QueryPoolTest : public VulkanTest {
 protected:
  Owned<VkQueryPool> MakeQueries(VkQueryType type, uint32_t count,
                                 VkQueryPipelineStatisticFlags statistics = 0) {
    VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
    info.queryType = type;
    info.queryCount = count;
    info.pipelineStatistics = statistics;
    Owned<VkQueryPool> pool = Make(vk.CreateQueryPool, vk.DestroyQueryPool, info);
    vk.ResetQueryPool(device, pool, 0, count);
    return pool;
  }

  // Fewer numbers than asked for stay as they were: kUntouched.
  std::vector<uint64_t> Results64(VkQueryPool pool, uint32_t first, uint32_t count,
                                  VkQueryResultFlags flags, size_t values_each,
                                  VkResult expected = VK_SUCCESS) {
    std::vector<uint64_t> values(count * values_each, kUntouched);
    EXPECT_EQ(expected,
              vk.GetQueryPoolResults(device, pool, first, count, values.size() * 8, values.data(),
                                     values_each * 8, flags | VK_QUERY_RESULT_64_BIT));
    return values;
  }

  // A pass of kSide x kSide texels in which `draw` draws quads.
  void RenderQuads(VkCommandBuffer commands, const Recorder& draw) {
    if (target_.handle.get() == VK_NULL_HANDLE) {
      target_ =
          MakeImage(gpu(), ImageInfo(kRgba, kSide, kSide, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT));
      view_ = MakeView(gpu(), target_);
      layout_ = MakePipelineLayout(gpu(), {}, VK_SHADER_STAGE_VERTEX_BIT, 36);
      vertex_ = MakeShader(gpu(), kQuadVert);
      fragment_ = MakeShader(gpu(), kColorFrag);
      GraphicsState state;
      state.AddStage(VK_SHADER_STAGE_VERTEX_BIT, vertex_);
      state.AddStage(VK_SHADER_STAGE_FRAGMENT_BIT, fragment_);
      state.layout = layout_;
      pipeline_ = state.Build(gpu());
    }
    Transition(commands, target_.handle, VK_IMAGE_LAYOUT_UNDEFINED,
               VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
    BeginColorRendering(gpu(), commands, view_, kSide, kSide, {});
    SetArea(gpu(), commands, kSide, kSide);
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline_);
    draw(commands);
    vk.CmdEndRendering(commands);
  }

  // A quad over the given part of the target.
  void DrawQuad(VkCommandBuffer commands, float right, float bottom) {
    const float push[9] = {-1, -1, right, bottom, 1, 1, 1, 1, 0};
    vk.CmdPushConstants(commands, layout_, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof(push), push);
    vk.CmdDraw(commands, 6, 1, 0, 0);
  }

  Image target_;
  Owned<VkImageView> view_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkShaderModule> vertex_;
  Owned<VkShaderModule> fragment_;
  Owned<VkPipeline> pipeline_;
};

TEST_F(QueryPoolTest, OcclusionCountsSamples) {
  const Owned<VkQueryPool> pool = MakeQueries(VK_QUERY_TYPE_OCCLUSION, 4);
  const VkQueryControlFlags precise =
      features.core.features.occlusionQueryPrecise == VK_TRUE ? VK_QUERY_CONTROL_PRECISE_BIT : 0;
  Execute([&](VkCommandBuffer commands) {
    RenderQuads(commands, [&](VkCommandBuffer) {
      vk.CmdBeginQuery(commands, pool, 0, precise);
      DrawQuad(commands, 1, 1);
      vk.CmdEndQuery(commands, pool, 0);
      vk.CmdBeginQuery(commands, pool, 1, precise);
      DrawQuad(commands, 0, 0);
      vk.CmdEndQuery(commands, pool, 1);
      vk.CmdBeginQuery(commands, pool, 2, precise);
      vk.CmdEndQuery(commands, pool, 2);
    });
  });
  const std::vector<uint64_t> results = Results64(pool, 0, 3, VK_QUERY_RESULT_WAIT_BIT, 1);
  if (precise != 0) {
    EXPECT_EQ((std::vector<uint64_t>{256, 64, 0}), results);
  } else {
    EXPECT_GT(results[0], 0u);
    EXPECT_GT(results[1], 0u);
    EXPECT_EQ(0u, results[2]);
  }
  // The fourth query was never begun: no value and no availability.
  const std::vector<uint64_t> fourth =
      Results64(pool, 3, 1, VK_QUERY_RESULT_WITH_AVAILABILITY_BIT, 2, VK_NOT_READY);
  EXPECT_EQ(0u, fourth[1]);
}

TEST_F(QueryPoolTest, WaitBitWaits) {
  // The host asks with WAIT before the work is done; that must not keep the work from getting done.
  const Owned<VkQueryPool> pool = MakeQueries(VK_QUERY_TYPE_OCCLUSION, 1);
  VkCommandBuffer commands = Record([&](VkCommandBuffer buffer) {
    RenderQuads(buffer, [&](VkCommandBuffer) {
      vk.CmdBeginQuery(buffer, pool, 0, 0);
      DrawQuad(buffer, 1, 1);
      vk.CmdEndQuery(buffer, pool, 0);
    });
  });
  for (int round = 0; round < 10; ++round) {
    Submit(commands);
    EXPECT_GT(Results64(pool, 0, 1, VK_QUERY_RESULT_WAIT_BIT, 1)[0], 0u);
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    vk.ResetQueryPool(device, pool, 0, 1);
  }
}

TEST_F(QueryPoolTest, AskedWhileTheWorkIsHeldBack) {
  // Without WAIT a driver says NOT_READY; lavapipe blocks until the queue is idle, which is why
  // another thread lets the work go on.
  VESPER_REQUIRE(queue_families[queue_family].timestampValidBits > 0);
  const Owned<VkQueryPool> pool = MakeQueries(VK_QUERY_TYPE_TIMESTAMP, 2);
  const Owned<VkEvent> gate = MakeEvent();
  Submit(Record([&](VkCommandBuffer commands) {
    vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 0);
    vk.CmdWaitEvents(commands, 1, gate.address(), VK_PIPELINE_STAGE_HOST_BIT,
                     VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, nullptr, 0, nullptr, 0, nullptr);
    vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 1);
  }));
  std::atomic<bool> released = false;
  std::jthread release([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    released = true;
    EXPECT_EQ(VK_SUCCESS, vk.SetEvent(device, gate));
  });
  uint64_t stamp[2] = {kUntouched, kUntouched};
  VkResult result = VK_NOT_READY;
  while (result == VK_NOT_READY) {
    result = vk.GetQueryPoolResults(device, pool, 1, 1, sizeof(stamp), stamp, sizeof(stamp),
                                    VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT);
    ASSERT_EQ(result == VK_SUCCESS, stamp[1] != 0 && stamp[1] != kUntouched);
  }
  ASSERT_EQ(VK_SUCCESS, result);
  EXPECT_TRUE(released.load()) << "a result before the work that writes it was let through";
  EXPECT_LE(Results64(pool, 0, 1, VK_QUERY_RESULT_WAIT_BIT, 1)[0], stamp[0]);
  ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
}

TEST_F(QueryPoolTest, TimestampsGrow) {
  VESPER_REQUIRE(queue_families[queue_family].timestampValidBits > 0);
  const Owned<VkQueryPool> pool = MakeQueries(VK_QUERY_TYPE_TIMESTAMP, 6);
  const Buffer buffer = MakeHostBuffer(gpu(), 1 << 20);
  for (uint32_t i = 0; i < 6; i += 2) {
    Execute([&](VkCommandBuffer commands) {
      vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, pool, i);
      vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, i);
      FullBarrier(commands);
      vk.CmdWriteTimestamp2(commands, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, pool, i + 1);
    });
  }
  const std::vector<uint64_t> stamps = Results64(pool, 0, 6, 0, 1);
  for (size_t i = 1; i < stamps.size(); ++i) {
    EXPECT_LE(stamps[i - 1], stamps[i]);
    EXPECT_NE(kUntouched, stamps[i]);
  }
}

TEST_F(QueryPoolTest, StrideAndWidthOfResults) {
  VESPER_REQUIRE(features.core.features.occlusionQueryPrecise == VK_TRUE);
  const Owned<VkQueryPool> pool = MakeQueries(VK_QUERY_TYPE_OCCLUSION, 3);
  Execute([&](VkCommandBuffer commands) {
    RenderQuads(commands, [&](VkCommandBuffer) {
      for (uint32_t i = 0; i < 3; ++i) {
        vk.CmdBeginQuery(commands, pool, i, VK_QUERY_CONTROL_PRECISE_BIT);
        DrawQuad(commands, i == 0 ? 1.0f : 0.0f, i == 2 ? 0.0f : 1.0f);
        vk.CmdEndQuery(commands, pool, i);
      }
    });
  });
  // 32 bits, with availability, far apart: what lies between is the caller's.
  std::vector<uint32_t> narrow(3 * 5, 0xABABABAB);
  ASSERT_EQ(VK_SUCCESS, vk.GetQueryPoolResults(
                            device, pool, 0, 3, narrow.size() * 4, narrow.data(), 20,
                            VK_QUERY_RESULT_WITH_AVAILABILITY_BIT | VK_QUERY_RESULT_WAIT_BIT));
  const uint32_t counts[3] = {256, 128, 64};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(counts[i], narrow[5 * i]);
    EXPECT_NE(0u, narrow[5 * i + 1]);
    EXPECT_EQ(0xABABABABu, narrow[5 * i + 2]);
    EXPECT_EQ(0xABABABABu, narrow[5 * i + 4]);
  }
  // The last entry needs no more room than its values.
  std::vector<uint64_t> tight(5, kUntouched);
  ASSERT_EQ(VK_SUCCESS, vk.GetQueryPoolResults(device, pool, 1, 2, 32, tight.data(), 24,
                                               VK_QUERY_RESULT_64_BIT));
  EXPECT_EQ(128u, tight[0]);
  EXPECT_EQ(64u, tight[3]);
  EXPECT_EQ(kUntouched, tight[4]);
}

TEST_F(QueryPoolTest, PartialResults) {
  const Owned<VkQueryPool> pool = MakeQueries(VK_QUERY_TYPE_OCCLUSION, 2);
  Execute([&](VkCommandBuffer commands) {
    RenderQuads(commands, [&](VkCommandBuffer) {
      vk.CmdBeginQuery(commands, pool, 0, 0);
      DrawQuad(commands, 1, 1);
      vk.CmdEndQuery(commands, pool, 0);
    });
  });
  // The second query has not begun. Drivers differ in whether that is something partial.
  std::vector<uint64_t> values(4, kUntouched);
  EXPECT_THAT(vk.GetQueryPoolResults(device, pool, 0, 2, 32, values.data(), 16,
                                     VK_QUERY_RESULT_PARTIAL_BIT | VK_QUERY_RESULT_64_BIT |
                                         VK_QUERY_RESULT_WITH_AVAILABILITY_BIT),
              testing::AnyOf(VK_SUCCESS, VK_NOT_READY));
  EXPECT_GT(values[0], 0u);
  EXPECT_NE(0u, values[1]);
  EXPECT_EQ(0u, values[2]);
  EXPECT_EQ(0u, values[3]);
}

TEST_F(QueryPoolTest, HostAndDeviceReset) {
  const Owned<VkQueryPool> pool = MakeQueries(VK_QUERY_TYPE_OCCLUSION, 2);
  const auto render = [&](float right) {
    Execute([&](VkCommandBuffer commands) {
      RenderQuads(commands, [&](VkCommandBuffer) {
        vk.CmdBeginQuery(commands, pool, 0, 0);
        DrawQuad(commands, right, 1);
        vk.CmdEndQuery(commands, pool, 0);
      });
    });
  };
  render(1);
  EXPECT_GT(Results64(pool, 0, 1, 0, 1)[0], 0u);
  vk.ResetQueryPool(device, pool, 0, 1);
  Results64(pool, 0, 1, 0, 1, VK_NOT_READY);
  render(1);
  EXPECT_GT(Results64(pool, 0, 1, 0, 1)[0], 0u);
  Execute([&](VkCommandBuffer commands) { vk.CmdResetQueryPool(commands, pool, 0, 2); });
  Results64(pool, 0, 1, 0, 1, VK_NOT_READY);
  // A quad without extent: counted anew, from nothing.
  render(-1);
  EXPECT_EQ(0u, Results64(pool, 0, 1, VK_QUERY_RESULT_WAIT_BIT, 1)[0]);
}

TEST_F(QueryPoolTest, PipelineStatistics) {
  VESPER_REQUIRE(features.core.features.pipelineStatisticsQuery == VK_TRUE);
  const VkQueryPipelineStatisticFlags statistics =
      VK_QUERY_PIPELINE_STATISTIC_INPUT_ASSEMBLY_VERTICES_BIT |
      VK_QUERY_PIPELINE_STATISTIC_INPUT_ASSEMBLY_PRIMITIVES_BIT |
      VK_QUERY_PIPELINE_STATISTIC_COMPUTE_SHADER_INVOCATIONS_BIT;
  const Owned<VkQueryPool> graphics = MakeQueries(VK_QUERY_TYPE_PIPELINE_STATISTICS, 1, statistics);
  const Owned<VkQueryPool> compute = MakeQueries(VK_QUERY_TYPE_PIPELINE_STATISTICS, 1, statistics);
  const Buffer buffer = MakeHostBuffer(gpu(), 256);
  const VkBuffer handle = buffer.handle;
  const Kernel kernel = MakeKernel(gpu(), kPushWriteComp, {&handle, 1}, 8);
  Execute([&](VkCommandBuffer commands) {
    RenderQuads(commands, [&](VkCommandBuffer) {
      vk.CmdBeginQuery(commands, graphics, 0, 0);
      DrawQuad(commands, 1, 1);
      DrawQuad(commands, 1, 1);
      vk.CmdEndQuery(commands, graphics, 0);
    });
    const uint32_t push[2] = {0, 1};
    vk.CmdBeginQuery(commands, compute, 0, 0);
    vk.CmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, 8, push);
    kernel.Dispatch(gpu(), commands, 10);
    vk.CmdEndQuery(commands, compute, 0);
  });
  const std::vector<uint64_t> drawn = Results64(graphics, 0, 1, VK_QUERY_RESULT_WAIT_BIT, 3);
  EXPECT_EQ((std::vector<uint64_t>{12, 4, 0}), drawn);
  const std::vector<uint64_t> computed = Results64(compute, 0, 1, VK_QUERY_RESULT_WAIT_BIT, 3);
  EXPECT_EQ((std::vector<uint64_t>{0, 0, 10}), computed);
}

TEST_F(QueryPoolTest, ResultsCopiedByTheDevice) {
  VESPER_REQUIRE(features.core.features.occlusionQueryPrecise == VK_TRUE);
  const Owned<VkQueryPool> pool = MakeQueries(VK_QUERY_TYPE_OCCLUSION, 2);
  const Buffer results = MakeHostBuffer(gpu(), 256);
  Execute([&](VkCommandBuffer commands) {
    RenderQuads(commands, [&](VkCommandBuffer) {
      vk.CmdBeginQuery(commands, pool, 0, VK_QUERY_CONTROL_PRECISE_BIT);
      DrawQuad(commands, 1, 1);
      vk.CmdEndQuery(commands, pool, 0);
      vk.CmdBeginQuery(commands, pool, 1, VK_QUERY_CONTROL_PRECISE_BIT);
      DrawQuad(commands, 0, 1);
      vk.CmdEndQuery(commands, pool, 1);
    });
    vk.CmdCopyQueryPoolResults(
        commands, pool, 0, 2, results.handle, 16, 64,
        VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT);
  });
  EXPECT_EQ(256u, results.As<uint64_t>()[2]);
  EXPECT_NE(0u, results.As<uint64_t>()[3]);
  EXPECT_EQ(128u, results.As<uint64_t>()[10]);
  EXPECT_NE(0u, results.As<uint64_t>()[11]);
  EXPECT_EQ(0u, results.As<uint64_t>()[4]);
}

TEST_F(QueryPoolTest, QueriesInSecondaryCommandBuffersAndReuse) {
  // The query belongs to a secondary buffer that two primaries run, one after the other.
  VESPER_REQUIRE(queue_families[queue_family].timestampValidBits > 0);
  const Owned<VkQueryPool> pool = MakeQueries(VK_QUERY_TYPE_TIMESTAMP, 1);
  const VkCommandBufferInheritanceInfo inheritance{
      VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  begin.pInheritanceInfo = &inheritance;
  VkCommandBuffer secondary = AllocateCommandBuffer(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
  ASSERT_EQ(VK_SUCCESS, vk.BeginCommandBuffer(secondary, &begin));
  vk.CmdResetQueryPool(secondary, pool, 0, 1);
  vk.CmdWriteTimestamp(secondary, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 0);
  ASSERT_EQ(VK_SUCCESS, vk.EndCommandBuffer(secondary));
  uint64_t last = 0;
  for (int round = 0; round < 3; ++round) {
    Execute([&](VkCommandBuffer commands) { vk.CmdExecuteCommands(commands, 1, &secondary); });
    const uint64_t stamp = Results64(pool, 0, 1, VK_QUERY_RESULT_WAIT_BIT, 1)[0];
    EXPECT_GE(stamp, last);
    EXPECT_NE(kUntouched, stamp);
    last = stamp;
  }
}

}  // namespace
}  // namespace vesper::tests
