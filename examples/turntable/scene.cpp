// SPDX-License-Identifier: Apache-2.0
#include "examples/turntable/scene.h"

#include <bit>
#include <cstring>
#include <numbers>

#include "examples/turntable/barriers.h"
#include "examples/turntable/pattern.h"

namespace vesper::examples {
namespace {

constexpr float kTurn = 2.0f * std::numbers::pi_v<float>;
constexpr uint32_t kMipLevels = std::bit_width(kPatternSize);
constexpr VkFormat kPatternFormat = VK_FORMAT_R8G8B8A8_SRGB;

// The part of a turn, from 0 to 1, that has gone by at a frame.
float TurnOfFrame(uint32_t frame) {
  return static_cast<float>(frame % kFramesPerTurn) / kFramesPerTurn;
}

template <typename T>
Buffer MakeStaging(const Device& device, const std::vector<T>& values) {
  Buffer staging(device, values.size() * sizeof(T), VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
                 Placement::kUpload);
  std::memcpy(staging.bytes().data(), values.data(), values.size() * sizeof(T));
  return staging;
}

template <typename T>
Buffer UploadArray(const Device& device, const std::vector<T>& values, VkBufferUsageFlags usage) {
  const Buffer staging = MakeStaging(device, values);
  Buffer buffer(device, staging.size(), usage | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                Placement::kDevice);
  const Owned<VkCommandPool> pool = MakeCommandPool(device);
  const VkCommandBuffer commands = AllocateCommandBuffer(device, pool.get());
  BeginCommands(device, commands);
  const VkBufferCopy region = {.size = staging.size()};
  device.commands().CmdCopyBuffer(commands, staging.handle(), buffer.handle(), 1, &region);
  const VkMemoryBarrier2 barrier = MemoryBarrier(kTransferWrite, kVertexInput);
  RecordBarriers(device, commands, {}, {&barrier, 1});
  RunCommands(device, commands);
  return buffer;
}

DeviceMesh UploadMesh(const Device& device, const Mesh& mesh) {
  return {UploadArray(device, mesh.vertices, VK_BUFFER_USAGE_VERTEX_BUFFER_BIT),
          UploadArray(device, mesh.indices, VK_BUFFER_USAGE_INDEX_BUFFER_BIT),
          static_cast<uint32_t>(mesh.indices.size())};
}

// Halves mip level `level - 1` into `level`, which are in the layouts for that.
void RecordHalving(const Device& device, VkCommandBuffer commands, const Image& image,
                   uint32_t level) {
  const auto size_at = [](uint32_t mip) { return static_cast<int32_t>(kPatternSize >> mip); };
  const VkImageBlit2 region = {
      .sType = VK_STRUCTURE_TYPE_IMAGE_BLIT_2,
      .srcSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, level - 1, 0, kPatternLayers},
      .srcOffsets = {{}, {size_at(level - 1), size_at(level - 1), 1}},
      .dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, level, 0, kPatternLayers},
      .dstOffsets = {{}, {size_at(level), size_at(level), 1}},
  };
  const VkBlitImageInfo2 blit_info = {
      .sType = VK_STRUCTURE_TYPE_BLIT_IMAGE_INFO_2,
      .srcImage = image.handle(),
      .srcImageLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
      .dstImage = image.handle(),
      .dstImageLayout = VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
      .regionCount = 1,
      .pRegions = &region,
      .filter = VK_FILTER_LINEAR,
  };
  device.commands().CmdBlitImage2(commands, &blit_info);
}

Image UploadPatterns(const Device& device) {
  Image image(device, {.format = kPatternFormat,
                       .extent = {kPatternSize, kPatternSize},
                       .usage = VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT |
                                VK_IMAGE_USAGE_TRANSFER_DST_BIT,
                       .mip_levels = kMipLevels,
                       .layers = kPatternLayers,
                       .view_type = VK_IMAGE_VIEW_TYPE_2D_ARRAY});
  const Buffer staging = MakeStaging(device, MakePatterns());
  const Owned<VkCommandPool> pool = MakeCommandPool(device);
  const VkCommandBuffer commands = AllocateCommandBuffer(device, pool.get());
  BeginCommands(device, commands);

  const VkImageMemoryBarrier2 to_fill =
      ImageBarrier(image, kNothing, VK_IMAGE_LAYOUT_UNDEFINED, kTransferWrite,
                   VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
  RecordBarriers(device, commands, {&to_fill, 1});
  const VkBufferImageCopy region = {
      .imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, kPatternLayers},
      .imageExtent = {kPatternSize, kPatternSize, 1},
  };
  device.commands().CmdCopyBufferToImage(commands, staging.handle(), image.handle(),
                                         VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &region);
  for (uint32_t level = 1; level < kMipLevels; ++level) {
    const VkImageMemoryBarrier2 to_read =
        ImageBarrier(image, kTransferWrite, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, kTransferRead,
                     VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, level - 1, 1);
    RecordBarriers(device, commands, {&to_read, 1});
    RecordHalving(device, commands, image, level);
  }
  const VkImageMemoryBarrier2 to_sample[] = {
      ImageBarrier(image, kTransferRead, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, kFragmentSample,
                   VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL, 0, kMipLevels - 1),
      ImageBarrier(image, kTransferWrite, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, kFragmentSample,
                   VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL, kMipLevels - 1, 1),
  };
  RecordBarriers(device, commands, to_sample);
  RunCommands(device, commands);
  return image;
}

}  // namespace

FrameUniforms UniformsOfFrame(uint32_t frame, VkExtent2D extent) {
  const float aspect = static_cast<float>(extent.width) / static_cast<float>(extent.height);
  const Vec3 eye = {0, 2.7f, 6.2f};
  const Mat4 view = LookAt(eye, {0, 0.62f, 0}, {0, 1, 0});
  const Mat4 projection = Perspective(0.66f, aspect, 0.5f, 20.0f);
  // The key light sways a little, three times in a turn.
  const float sway = 0.7f * std::sin(3 * TurnOfFrame(frame) * kTurn);
  return {
      .view_projection = projection * view,
      .eye = {eye.x, eye.y, eye.z, 1},
      .light_position = {{2.6f + sway, 4.2f, 3.4f, 1}, {-4.0f, 2.2f, -2.6f, 1}},
      .light_colour = {{34.0f, 31.0f, 26.0f, 0}, {9.0f, 14.0f, 24.0f, 0}},
      .sky = {0.20f, 0.24f, 0.32f, 0},
      .ground = {0.10f, 0.07f, 0.05f, 0},
  };
}

ObjectConstants KnotOfFrame(uint32_t frame) {
  return {.model = Translation({0, 1.02f, 0}) * RotationY(TurnOfFrame(frame) * kTurn),
          .texture_layer = kKnotLayer,
          .shininess = 96.0f};
}

ObjectConstants PlatterOfFrame(uint32_t frame) {
  return {.model = RotationY(TurnOfFrame(frame) * kTurn),
          .texture_layer = kPlatterLayer,
          .shininess = 24.0f};
}

Scene::Scene(const Device& device)
    : knot_(UploadMesh(device, MakeKnot())),
      platter_(UploadMesh(device, MakePlatter())),
      patterns_(UploadPatterns(device)) {}

}  // namespace vesper::examples
