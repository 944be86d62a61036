// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/gpu_work.h"

#include <algorithm>

#include "shaders/scatter_address_comp.h"
#include "shaders/scatter_comp.h"

namespace vesper::tests {
namespace {

constexpr uint32_t kScratchWidth = 128;
constexpr uint32_t kScratchHeight = 64;

constexpr VkDescriptorType kDynamic = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC;
// What a dynamic descriptor shows of a buffer.
constexpr VkDeviceSize kWindow = 16384;

constexpr VkImageSubresourceLayers kColor{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};

bool CanBeWritten(const Plot& plot) { return plot.memory->device_writes(); }

// What the scatter shaders compute.
uint8_t Scattered(uint32_t value, uint32_t i) {
  return static_cast<uint8_t>(value + i * 7 + (i >> 8));
}

// Rows of `width` bytes, each `pitch` after the last, from one plot to another.
void CopyRows(const Plot& from, size_t from_begin, size_t from_pitch, Plot& to, size_t to_begin,
              size_t to_pitch, size_t width, size_t height) {
  for (size_t y = 0; y < height; ++y) {
    std::copy_n(from.bytes.begin() + static_cast<std::ptrdiff_t>(from_begin + y * from_pitch),
                width, to.bytes.begin() + static_cast<std::ptrdiff_t>(to_begin + y * to_pitch));
  }
}

// A scatter for a descriptor of that type, without a set.
Kernel MakeScatterKernel(Gpu& gpu, VkDescriptorType type, VkDescriptorSetLayoutCreateFlags flags) {
  Kernel kernel;
  const VkDescriptorSetLayoutBinding binding{0, type, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  kernel.set_layout = MakeSetLayout(gpu, {&binding, 1}, flags);
  kernel.layout =
      MakePipelineLayout(gpu, {kernel.set_layout.address(), 1}, VK_SHADER_STAGE_COMPUTE_BIT, 16);
  kernel.pipeline = MakeComputePipeline(gpu, kScatterComp, kernel.layout);
  return kernel;
}

}  // namespace

GpuWorkMaker::GpuWorkMaker(Gpu& gpu, std::span<const std::unique_ptr<TestMemory>> memories)
    : gpu_(gpu) {
  VkImageCreateInfo info =
      ImageInfo(VK_FORMAT_R8_UINT, kScratchWidth, kScratchHeight,
                VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT);
  scratch_ = MakeImage(gpu, info);
  for (const std::unique_ptr<TestMemory>& memory : memories) {
    if (memory->storage() != VK_NULL_HANDLE) {
      const VkBuffer storage = memory->storage();
      kernels_.emplace(memory.get(), MakeKernel(gpu, kScatterComp, {&storage, 1}, 16));
      if (memory->size() >= kWindow) {
        Kernel& kernel = window_kernels_[memory.get()];
        kernel = MakeScatterKernel(gpu, kDynamic, 0);
        const VkDescriptorPoolSize pool_size{kDynamic, 1};
        kernel.pool = MakePool(gpu, {&pool_size, 1}, 1);
        kernel.set = AllocateSet(gpu, kernel.pool, kernel.set_layout);
        WriteBufferDescriptor(gpu, kernel.set, 0, kDynamic, storage, 0, kWindow);
      }
    }
  }
  if (gpu.features.v14.pushDescriptor == VK_TRUE) {
    push_kernel_ = MakeScatterKernel(gpu, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                     VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT);
  }
  address_kernel_ = MakeKernel(gpu, kScatterAddressComp, {}, 24);
}

Plot* GpuWorkMaker::Pick(std::vector<Plot>& plots, Random& random,
                         const std::function<bool(const Plot&)>& suits) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    Plot& plot = plots[random.Below(plots.size())];
    if (suits(plot)) {
      return &plot;
    }
  }
  return nullptr;
}

GpuWorkMaker::Range GpuWorkMaker::Part(const Plot& plot, Random& random, size_t limit) {
  const size_t most = random.OneIn(4) ? limit : std::min<size_t>(limit, 500);
  Range range;
  range.begin = random.OneIn(3) ? 0 : random.Below(plot.bytes.size());
  range.size = random.Between(1, std::min(most, plot.bytes.size() - range.begin));
  return range;
}

GpuWorkMaker::Range GpuWorkMaker::Words(const Plot& plot, Random& random, size_t limit) {
  const Range part = Part(plot, random, limit);
  const size_t begin = (plot.begin + part.begin + 3) / 4 * 4;
  const size_t end = (plot.begin + part.begin + part.size) / 4 * 4;
  return begin < end ? Range{begin - plot.begin, end - begin} : Range{};
}

std::optional<GpuWork> GpuWorkMaker::Make(std::vector<Plot>& plots, Random& random) {
  const uint64_t kind = random.Below(9);
  Plot* to = Pick(plots, random, [kind](const Plot& plot) {
    switch (kind) {
      case 5:
        return plot.is_image && CanBeWritten(plot);
      case 7:
      case 8:
        return plot.memory->storage() != VK_NULL_HANDLE;
      default:
        return CanBeWritten(plot);
    }
  });
  Plot* from = Pick(plots, random, [kind, to](const Plot& plot) {
    return &plot != to && (kind != 6 || plot.is_image);
  });
  if (to == nullptr || from == nullptr) {
    return std::nullopt;
  }
  switch (kind) {
    case 0:
      return Fill(*to, random);
    case 1:
      return Update(*to, random);
    case 2:
      return Copy(*from, *to, random);
    case 3:
      return CopySingleBytes(*from, *to, random);
    case 4:
      return CopyThroughImage(*from, *to, random);
    case 5:
      return CopyIntoImage(*from, *to, random);
    case 6:
      return CopyOutOfImage(*from, *to, random);
    default:
      return Scatter(*to, random);
  }
}

std::optional<GpuWork> GpuWorkMaker::Fill(Plot& to, Random& random) {
  const Range range = Words(to, random);
  if (range.size == 0) {
    return std::nullopt;
  }
  const uint32_t value = random.OneIn(3) ? 0 : static_cast<uint32_t>(random.Next());
  GpuWork work;
  work.record = [this, &to, range, value](VkCommandBuffer commands) {
    gpu_.vk.CmdFillBuffer(commands, to.memory->target(), to.begin + range.begin, range.size, value);
  };
  work.model = [&to, range, value] {
    for (size_t i = 0; i < range.size; ++i) {
      to.bytes[range.begin + i] = static_cast<uint8_t>(value >> i % 4 * 8);
    }
    to.busy.push_back({range.begin, range.size, 1});
  };
  return work;
}

std::optional<GpuWork> GpuWorkMaker::Update(Plot& to, Random& random) {
  const Range range = Words(to, random, 65536);
  if (range.size == 0) {
    return std::nullopt;
  }
  const std::vector<uint8_t> bytes = random.Bytes(range.size);
  GpuWork work;
  work.record = [this, &to, range, bytes](VkCommandBuffer commands) {
    gpu_.vk.CmdUpdateBuffer(commands, to.memory->target(), to.begin + range.begin, range.size,
                            bytes.data());
  };
  work.model = [&to, range, bytes] {
    std::copy(bytes.begin(), bytes.end(),
              to.bytes.begin() + static_cast<std::ptrdiff_t>(range.begin));
    to.busy.push_back({range.begin, range.size, 1});
  };
  return work;
}

std::optional<GpuWork> GpuWorkMaker::Copy(Plot& from, Plot& to, Random& random) {
  Range source = Part(from, random);
  const Range target = Part(to, random, source.size);
  source.size = target.size;
  GpuWork work;
  work.record = [this, &from, &to, source, target](VkCommandBuffer commands) {
    CopyBytes(gpu_, commands, from.memory->source(), to.memory->target(), target.size,
              from.begin + source.begin, to.begin + target.begin);
  };
  work.model = [&from, &to, source, target] {
    CopyRows(from, source.begin, 0, to, target.begin, 0, target.size, 1);
    from.busy.push_back({source.begin, source.size, 1});
    to.busy.push_back({target.begin, target.size, 1});
  };
  return work;
}

std::optional<GpuWork> GpuWorkMaker::CopySingleBytes(Plot& from, Plot& to, Random& random) {
  const Range source = Part(from, random);
  const Range target = Part(to, random);
  const size_t step = random.OneIn(3) ? random.Between(2, 200) : random.Between(2, 9);
  const size_t count = std::min({(target.size + step - 1) / step, source.size, size_t{200}});
  GpuWork work;
  work.record = [this, &from, &to, source, target, step, count](VkCommandBuffer commands) {
    std::vector<VkBufferCopy> regions;
    for (size_t i = 0; i < count; ++i) {
      regions.push_back({from.begin + source.begin + i, to.begin + target.begin + i * step, 1});
    }
    gpu_.vk.CmdCopyBuffer(commands, from.memory->source(), to.memory->target(),
                          static_cast<uint32_t>(count), regions.data());
  };
  work.model = [&from, &to, source, target, step, count] {
    for (size_t i = 0; i < count; ++i) {
      to.bytes[target.begin + i * step] = from.bytes[source.begin + i];
    }
    from.busy.push_back({source.begin, count, 1});
    to.busy.push_back({target.begin, count, step});
  };
  return work;
}

std::optional<GpuWork> GpuWorkMaker::CopyThroughImage(Plot& from, Plot& to, Random& random) {
  // Into the image densely, out of it with room between the rows.
  const Range source = Part(from, random, kScratchWidth * kScratchHeight);
  const Range target = Part(to, random);
  const auto width = static_cast<uint32_t>(
      random.Between(1, std::min<size_t>({kScratchWidth, source.size, target.size})));
  const auto pitch = static_cast<uint32_t>(width + random.Below(30));
  const auto height = static_cast<uint32_t>(
      std::min<size_t>({kScratchHeight, source.size / width, (target.size - width) / pitch + 1}));
  GpuWork work;
  work.record = [this, &from, &to, source, target, width, pitch, height](VkCommandBuffer commands) {
    gpu_.Transition(commands, scratch_.handle, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_GENERAL);
    VkBufferImageCopy copy{};
    copy.bufferOffset = from.begin + source.begin;
    copy.imageSubresource = kColor;
    copy.imageExtent = {width, height, 1};
    gpu_.vk.CmdCopyBufferToImage(commands, from.memory->source(), scratch_.handle,
                                 VK_IMAGE_LAYOUT_GENERAL, 1, &copy);
    gpu_.FullBarrier(commands);
    copy.bufferOffset = to.begin + target.begin;
    copy.bufferRowLength = pitch;
    gpu_.vk.CmdCopyImageToBuffer(commands, scratch_.handle, VK_IMAGE_LAYOUT_GENERAL,
                                 to.memory->target(), 1, &copy);
  };
  work.model = [&from, &to, source, target, width, pitch, height] {
    CopyRows(from, source.begin, width, to, target.begin, pitch, width, height);
    from.busy.push_back({source.begin, size_t{width} * height, 1});
    for (size_t y = 0; y < height; ++y) {
      to.busy.push_back({target.begin + y * pitch, width, 1});
    }
  };
  return work;
}

namespace {

// A rectangle of the linear image, and where its first byte is in the image's plot.
struct Rectangle {
  VkOffset3D offset{};
  uint32_t width = 0;
  uint32_t height = 0;
  size_t begin = 0;
};

Rectangle PickRectangle(const LinearAlias& image, size_t most_bytes, Random& random) {
  Rectangle area;
  area.offset.x = static_cast<int32_t>(random.Below(image.extent.width));
  area.offset.y = static_cast<int32_t>(random.Below(image.extent.height));
  const uint32_t most_width = image.extent.width - static_cast<uint32_t>(area.offset.x);
  const uint32_t most_height = image.extent.height - static_cast<uint32_t>(area.offset.y);
  area.width = static_cast<uint32_t>(random.Between(1, std::min<size_t>(most_width, most_bytes)));
  area.height = static_cast<uint32_t>(
      random.Between(1, std::min<size_t>(most_height, most_bytes / area.width)));
  area.begin = image.layout.offset + static_cast<size_t>(area.offset.y) * image.layout.rowPitch +
               static_cast<size_t>(area.offset.x);
  return area;
}

VkBufferImageCopy Region(const Rectangle& area, VkDeviceSize buffer_offset) {
  VkBufferImageCopy copy{};
  copy.bufferOffset = buffer_offset;
  copy.imageSubresource = kColor;
  copy.imageOffset = area.offset;
  copy.imageExtent = {area.width, area.height, 1};
  return copy;
}

void MarkRectangle(Plot& plot, const Rectangle& area, size_t pitch) {
  for (size_t y = 0; y < area.height; ++y) {
    plot.busy.push_back({area.begin + y * pitch, area.width, 1});
  }
}

}  // namespace

std::optional<GpuWork> GpuWorkMaker::CopyIntoImage(Plot& from, Plot& to, Random& random) {
  const LinearAlias& image = *to.memory->image();
  const Range source = Part(from, random);
  const Rectangle area = PickRectangle(image, source.size, random);
  GpuWork work;
  work.record = [this, &from, &image, source, area](VkCommandBuffer commands) {
    const VkBufferImageCopy copy = Region(area, from.begin + source.begin);
    gpu_.vk.CmdCopyBufferToImage(commands, from.memory->source(), image.handle,
                                 VK_IMAGE_LAYOUT_GENERAL, 1, &copy);
  };
  work.model = [&from, &to, &image, source, area] {
    CopyRows(from, source.begin, area.width, to, area.begin, image.layout.rowPitch, area.width,
             area.height);
    from.busy.push_back({source.begin, size_t{area.width} * area.height, 1});
    MarkRectangle(to, area, image.layout.rowPitch);
  };
  return work;
}

std::optional<GpuWork> GpuWorkMaker::CopyOutOfImage(Plot& from, Plot& to, Random& random) {
  const LinearAlias& image = *from.memory->image();
  const Range target = Part(to, random);
  const Rectangle area = PickRectangle(image, target.size, random);
  GpuWork work;
  work.record = [this, &to, &image, target, area](VkCommandBuffer commands) {
    const VkBufferImageCopy copy = Region(area, to.begin + target.begin);
    gpu_.vk.CmdCopyImageToBuffer(commands, image.handle, VK_IMAGE_LAYOUT_GENERAL,
                                 to.memory->target(), 1, &copy);
  };
  work.model = [&from, &to, &image, target, area] {
    CopyRows(from, area.begin, image.layout.rowPitch, to, target.begin, area.width, area.width,
             area.height);
    to.busy.push_back({target.begin, size_t{area.width} * area.height, 1});
    MarkRectangle(from, area, image.layout.rowPitch);
  };
  return work;
}

GpuWorkMaker::Led GpuWorkMaker::Lead(VkCommandBuffer commands, const TestMemory& memory,
                                     VkDeviceSize first, VkDeviceSize size, Way way) {
  const VkDeviceSize align = gpu_.properties.limits().minStorageBufferOffsetAlignment;
  const VkDeviceSize aligned = first / align * align;
  if (way == Way::kPush && push_kernel_.pipeline != VK_NULL_HANDLE) {
    // To whole words, as some drivers see them.
    const VkDeviceSize end = std::min((first + size + 3) / 4 * 4, memory.size());
    const VkDescriptorBufferInfo info{memory.storage(), aligned, end - aligned};
    VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    write.descriptorCount = 1;
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = &info;
    gpu_.vk.CmdPushDescriptorSet(commands, VK_PIPELINE_BIND_POINT_COMPUTE, push_kernel_.layout, 0,
                                 1, &write);
    return {&push_kernel_, first - aligned};
  }
  const bool fits = aligned + kWindow <= memory.size() && first - aligned + size <= kWindow;
  const bool moves = way == Way::kDynamicOffset && fits;
  const Kernel& kernel = moves ? window_kernels_.at(&memory) : kernels_.at(&memory);
  const auto offset = static_cast<uint32_t>(aligned);
  gpu_.vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.layout, 0, 1,
                                &kernel.set, moves ? 1 : 0, &offset);
  return {&kernel, moves ? first - aligned : first};
}

std::optional<GpuWork> GpuWorkMaker::Scatter(Plot& to, Random& random) {
  const Range range = Part(to, random, 1 << 20);
  const auto step = static_cast<uint32_t>(random.OneIn(2) ? 1 : random.Between(2, 100));
  const auto count = static_cast<uint32_t>((range.size + step - 1) / step);
  const auto value = static_cast<uint32_t>(random.Next());
  const Way way = to.memory->address() != 0 && random.OneIn(2) ? Way::kAddress
                  : random.OneIn(3)                            ? Way::kSet
                  : random.OneIn(2)                            ? Way::kDynamicOffset
                                                               : Way::kPush;
  GpuWork work;
  work.record = [this, &to, range, step, count, value, way](VkCommandBuffer commands) {
    const VkDeviceSize first = to.begin + range.begin;
    if (way == Way::kAddress) {
      const struct {
        uint64_t address;
        uint32_t step, count, value, unused;
      } push{to.memory->address() + first, step, count, value, 0};
      gpu_.vk.CmdPushConstants(commands, address_kernel_.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               sizeof(push), &push);
      address_kernel_.Dispatch(gpu_, commands, (count + 63) / 64);
      return;
    }
    const Led led = Lead(commands, *to.memory, first, range.size, way);
    const uint32_t push[] = {static_cast<uint32_t>(led.first), step, count, value};
    gpu_.vk.CmdPushConstants(commands, led.kernel->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                             sizeof(push), push);
    gpu_.vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, led.kernel->pipeline);
    gpu_.vk.CmdDispatch(commands, (count + 63) / 64, 1, 1);
  };
  work.model = [&to, range, step, count, value] {
    for (uint32_t i = 0; i < count; ++i) {
      to.bytes[range.begin + size_t{i} * step] = Scattered(value, i);
    }
    to.busy.push_back({range.begin, count, step});
  };
  return work;
}

}  // namespace vesper::tests
