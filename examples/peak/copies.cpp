// SPDX-License-Identifier: Apache-2.0
#include "examples/peak/copies.h"

#include <cinttypes>
#include <cstdio>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "examples/common/failure.h"
#include "examples/common/resources.h"
#include "examples/peak/checksum.h"

namespace vesper::examples {
namespace {

constexpr uint32_t kLayers = 4;
constexpr uint32_t kTiles = 4;  // in each direction of a layer

// The words of a pass: no two passes, and no two words near each other, are alike.
uint32_t WordAt(uint64_t index, uint32_t pass) {
  return static_cast<uint32_t>(index) * 2654435761u + pass * 40503u;
}

// Makes what a later command reads or writes wait for what an earlier one has written.
void Barrier(const DeviceCommands& vk, VkCommandBuffer commands,
             VkPipelineStageFlags2 to_stage = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT,
             VkAccessFlags2 to_access = VK_ACCESS_2_TRANSFER_READ_BIT |
                                        VK_ACCESS_2_TRANSFER_WRITE_BIT) {
  const VkMemoryBarrier2 barrier = {
      .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
      .srcStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT,
      .srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT,
      .dstStageMask = to_stage,
      .dstAccessMask = to_access,
  };
  const VkDependencyInfo dependency = {.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
                                       .memoryBarrierCount = 1,
                                       .pMemoryBarriers = &barrier};
  vk.CmdPipelineBarrier2(commands, &dependency);
}

void ToGeneral(const DeviceCommands& vk, VkCommandBuffer commands, const Image& image) {
  const VkImageMemoryBarrier2 barrier = {
      .sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2,
      .dstStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT,
      .dstAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT,
      .oldLayout = VK_IMAGE_LAYOUT_UNDEFINED,
      .newLayout = VK_IMAGE_LAYOUT_GENERAL,
      .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
      .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
      .image = image.handle(),
      .subresourceRange = image.whole(),
  };
  const VkDependencyInfo dependency = {.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
                                       .imageMemoryBarrierCount = 1,
                                       .pImageMemoryBarriers = &barrier};
  vk.CmdPipelineBarrier2(commands, &dependency);
}

class Copies {
 public:
  Copies(const Device& device, uint64_t bytes)
      : device_(device),
        vk_(device.commands()),
        upload_(device, bytes, kTransfer, Placement::kUpload),
        middle_(device, bytes, kTransfer, Placement::kDevice),
        readback_(device, bytes, kTransfer, Placement::kReadback),
        pool_(MakeCommandPool(device)),
        commands_(AllocateCommandBuffer(device, pool_.get())) {}

  // Up, through a buffer that the host never sees, and down.
  void ThroughABuffer() {
    Run("buffers", [&] {
      const VkBufferCopy all = {0, 0, upload_.size()};
      vk_.CmdCopyBuffer(commands_, upload_.handle(), middle_.handle(), 1, &all);
      Barrier(vk_, commands_);
      vk_.CmdCopyBuffer(commands_, middle_.handle(), readback_.handle(), 1, &all);
    });
  }

  // Up, in parts that overlap nowhere and come in another order, and down.
  void InManyRegions() {
    Run("regions", [&] {
      constexpr uint32_t kRegions = 1024;
      const VkDeviceSize part = upload_.size() / kRegions;
      std::vector<VkBufferCopy> there(kRegions);
      std::vector<VkBufferCopy> back(kRegions);
      for (uint32_t i = 0; i < kRegions; ++i) {
        const VkDeviceSize place = i * 389 % kRegions * part;  // a permutation: 389 is odd
        there[i] = {i * part, place, part};
        back[i] = {place, i * part, part};
      }
      vk_.CmdCopyBuffer(commands_, upload_.handle(), middle_.handle(), kRegions, there.data());
      Barrier(vk_, commands_);
      vk_.CmdCopyBuffer(commands_, middle_.handle(), readback_.handle(), kRegions, back.data());
    });
  }

  // Into an image of four layers, tile by tile into a second one where each tile has another place,
  // back to where they were in the first, and down.
  void ThroughImages(const char* name, VkFormat format, uint32_t texel_bytes) {
    const auto texels = static_cast<uint32_t>(upload_.size() / texel_bytes / kLayers);
    uint32_t width = 64;
    while (width * width < texels) {
      width *= 2;
    }
    const VkExtent2D extent = {width, texels / width};
    const Image::Description description = {
        .format = format,
        .extent = extent,
        .usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT |
                 VK_IMAGE_USAGE_SAMPLED_BIT,
        .layers = kLayers,
        .view_type = VK_IMAGE_VIEW_TYPE_2D_ARRAY,
    };
    if (!device_.SupportsFormat(format, VK_FORMAT_FEATURE_TRANSFER_SRC_BIT |
                                            VK_FORMAT_FEATURE_TRANSFER_DST_BIT |
                                            VK_FORMAT_FEATURE_SAMPLED_IMAGE_BIT)) {
      std::printf("%-13s this device has none\n", name);
      return;
    }
    const Image first(device_, description);
    const Image second(device_, description);
    std::vector<VkImageCopy> there;
    std::vector<VkImageCopy> back;
    Shuffle(extent, &there, &back);
    Run(name, [&] {
      const VkBufferImageCopy all = {.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, kLayers},
                                     .imageExtent = {extent.width, extent.height, 1}};
      ToGeneral(vk_, commands_, first);
      ToGeneral(vk_, commands_, second);
      vk_.CmdCopyBufferToImage(commands_, upload_.handle(), first.handle(), VK_IMAGE_LAYOUT_GENERAL,
                               1, &all);
      Barrier(vk_, commands_);
      CopyTiles(first, second, there);
      Barrier(vk_, commands_);
      CopyTiles(second, first, back);
      Barrier(vk_, commands_);
      vk_.CmdCopyImageToBuffer(commands_, first.handle(), VK_IMAGE_LAYOUT_GENERAL,
                               readback_.handle(), 1, &all);
    });
  }

 private:
  static constexpr VkBufferUsageFlags kTransfer =
      VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;

  void CopyTiles(const Image& from, const Image& to, std::span<const VkImageCopy> tiles) {
    vk_.CmdCopyImage(commands_, from.handle(), VK_IMAGE_LAYOUT_GENERAL, to.handle(),
                     VK_IMAGE_LAYOUT_GENERAL, static_cast<uint32_t>(tiles.size()), tiles.data());
  }

  // The tiles of all layers and where each goes, and the way back.
  static void Shuffle(VkExtent2D extent, std::vector<VkImageCopy>* there,
                      std::vector<VkImageCopy>* back) {
    constexpr uint32_t kAll = kTiles * kTiles * kLayers;
    const VkExtent3D tile = {extent.width / kTiles, extent.height / kTiles, 1};
    const auto layer = [](uint32_t index) {
      return VkImageSubresourceLayers{VK_IMAGE_ASPECT_COLOR_BIT, 0, index / (kTiles * kTiles), 1};
    };
    const auto corner = [&](uint32_t index) {
      return VkOffset3D{static_cast<int32_t>(index % kTiles * tile.width),
                        static_cast<int32_t>(index / kTiles % kTiles * tile.height), 0};
    };
    for (uint32_t i = 0; i < kAll; ++i) {
      const uint32_t place = i * 37 % kAll;  // a permutation: 37 is odd
      there->push_back({layer(i), corner(i), layer(place), corner(place), tile});
      back->push_back({layer(place), corner(place), layer(i), corner(i), tile});
    }
  }

  // Fills the upload buffer anew, records with `record`, runs it, and compares what has come.
  void Run(const char* name, const std::function<void()>& record) {
    ++pass_;
    const std::span<uint32_t> source = upload_.As<uint32_t>();
    const std::span<uint32_t> arrived = readback_.As<uint32_t>();
    const Stopwatch watch;
    for (size_t i = 0; i < source.size(); ++i) {
      source[i] = WordAt(i, pass_);
    }
    BeginCommands(device_, commands_);
    record();
    Barrier(vk_, commands_, VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
    RunCommands(device_, commands_);
    for (size_t i = 0; i < arrived.size(); ++i) {
      if (arrived[i] != WordAt(i, pass_)) {
        throw Failure(std::string(name) + ": word " + std::to_string(i) + " is " +
                      std::to_string(arrived[i]) + ", and " + std::to_string(WordAt(i, pass_)) +
                      " was sent.");
      }
    }
    const double seconds = watch.Seconds();
    std::printf("%-13s %zu words are right, %016" PRIx64 "\n", name, arrived.size(),
                Checksum(arrived));
    // Written, moved, read and compared, all in all.
    std::fprintf(stderr, "%-13s %9.2f MB/s\n", name,
                 1e-6 * static_cast<double>(upload_.size()) / seconds);
    Check(vk_.ResetCommandPool(device_.handle(), pool_.get(), 0), "vkResetCommandPool");
  }

  const Device& device_;
  const DeviceCommands& vk_;
  const Buffer upload_;
  const Buffer middle_;
  const Buffer readback_;
  const Owned<VkCommandPool> pool_;
  const VkCommandBuffer commands_;
  uint32_t pass_ = 0;
};

}  // namespace

void RunCopies(const Device& device, uint64_t bytes) {
  Copies copies(device, bytes);
  copies.ThroughABuffer();
  copies.InManyRegions();
  copies.ThroughImages("images r8", VK_FORMAT_R8_UINT, 1);
  copies.ThroughImages("images r32", VK_FORMAT_R32_UINT, 4);
  copies.ThroughImages("images rgba8", VK_FORMAT_R8G8B8A8_UNORM, 4);
  copies.ThroughImages("images rgba32", VK_FORMAT_R32G32B32A32_UINT, 16);
}

}  // namespace vesper::examples
