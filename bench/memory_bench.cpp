// SPDX-License-Identifier: Apache-2.0
//
// What mapped memory costs, as an ordinary Vulkan program that knows nothing of Vesper. It is run
// natively and through Vesper, and scripts/bench sets the figures side by side. docs/benchmarks.md
// says what each one means.
//
// A figure of a submission has three phases: the program writes ("write": page faults of a tracker
// are paid here), vkQueueSubmit2 returns ("submit": looking for what was written, and sending),
// the fence is signalled ("wait": the link, the host, the device and the way back).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "bench/figures.h"
#include "bench/gpu_memory.h"
#include "bench/run_program.h"
#include "examples/common/failure.h"

namespace vesper::bench {
namespace {

using examples::Buffer;
using examples::Device;
using examples::DeviceCommands;
using examples::Failure;
using examples::Instance;
using examples::Placement;

constexpr size_t kDenseBytes = 64 * kMiB;
constexpr size_t kSparseBytes = 256 * kMiB;
constexpr size_t kSparsePages = kSparseBytes / kPageBytes;
constexpr size_t kIdleBuffers = 4;  // of 256 MiB: some drivers allow no single GiB
constexpr size_t kIdleBufferBytes = 256 * kMiB;
constexpr size_t kManyMappings = 1000;
constexpr size_t kManyBytes = 64u << 10;
constexpr size_t kLinkBytes = 8 * kMiB;
constexpr size_t kLinkPages = 256;

constexpr VkBufferUsageFlags kSource = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
constexpr VkBufferUsageFlags kAnyUse = VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                       VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                                       VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;

class MemoryBench {
 public:
  MemoryBench(const Device& device, const Effort& effort, std::string only)
      : device_(device), effort_(effort), only_(std::move(only)) {}

  void DenseUnmapped() const;
  void DensePersistent() const;
  void Sparse(bool every_count) const;
  void Idle() const;
  void Readback() const;
  void ReadCounter() const;
  void ManyMappings() const;
  void Link() const;

 private:
  bool Wanted(const std::string& name) const { return name.find(only_) != std::string::npos; }

  /// True if there is mappable memory on the device, and mappable memory elsewhere.
  bool HasMappableDeviceMemory() const {
    constexpr VkMemoryPropertyFlags kMappable =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    return device_.FindMemoryType(UINT32_MAX, kMappable, 0) !=
           device_.FindMemoryType(UINT32_MAX, kMappable, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
  }
  void IdleKind(const std::string& kind, const Work& work) const;
  void DenseOverLink(const std::string& name, Content content) const;
  void SparseOverLink(const std::string& name, Content content) const;
  /// Throws unless the buffer on the device holds the content.
  void Verify(const Buffer& buffer, Content content, uint64_t seed) const;

  const Device& device_;
  const Effort effort_;
  const std::string only_;
};

/// The first bytes of `count` pages that lie evenly in the mapping.
template <typename Visit>
void ForEachPage(std::span<std::byte> mapped, size_t count, const Visit& visit) {
  const size_t stride = mapped.size() / count / kPageBytes * kPageBytes;
  for (size_t page = 0; page < count; ++page) {
    visit(mapped.subspan(page * stride, kPageBytes));
  }
}

void MemoryBench::Verify(const Buffer& buffer, Content content, uint64_t seed) const {
  const Buffer result(device_, buffer.size(), VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                      Placement::kReadback);
  Work(device_, [&](const DeviceCommands& vk, VkCommandBuffer commands) {
    Copy(buffer.handle(), result.handle(), buffer.size())(vk, commands);
    ReleaseToHost(vk, commands);
  }).Run();
  std::vector<std::byte> expected(buffer.size());
  Fill(expected, content, seed);
  if (std::memcmp(expected.data(), result.bytes().data(), expected.size()) != 0) {
    throw Failure("the device did not get what the program wrote.");
  }
}

void MemoryBench::DenseUnmapped() const {
  const std::string name = "dense: map, write 64 MiB, unmap, copy";
  if (!Wanted(name)) {
    return;
  }
  HostBuffers source(device_, {kDenseBytes, kSource});
  const Buffer target(device_, kDenseBytes, kAnyUse, Placement::kDevice);
  const Work work(device_, Copy(source.buffer(), target.handle(), kDenseBytes));
  uint64_t seed = 0;
  const Measured measured = Measure(effort_, [&](Repetition& repetition) {
    ++seed;
    const std::span<std::byte> mapped = source.Map();
    repetition.EndPhase("map");
    Fill(mapped.first(kDenseBytes), Content::kNoise, seed);
    repetition.EndPhase("write");
    source.Unmap();
    repetition.EndPhase("unmap");
    work.Submit();
    repetition.EndPhase("submit");
    work.Wait();
    repetition.EndPhase("wait");
  });
  Verify(target, Content::kNoise, seed);
  PrintFigure(name, Unit::kGigabytesPerSecond, measured, kDenseBytes);
}

void MemoryBench::DensePersistent() const {
  struct Case {
    const char* name;
    VkBufferUsageFlags usage;
    VkMemoryPropertyFlags preferred;
  };
  const Case cases[] = {
      {"dense: write 64 MiB mapped, copy", kSource, 0},
      {"dense: write 64 MiB mapped, device may write it, copy", kAnyUse, 0},
      {"dense: write 64 MiB mapped on the device, copy", kSource,
       VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT},
  };
  for (const Case& one : cases) {
    if (!Wanted(one.name) || (one.preferred != 0 && !HasMappableDeviceMemory())) {
      continue;
    }
    HostBuffers source(device_, {kDenseBytes, one.usage}, one.preferred);
    const Buffer target(device_, kDenseBytes, kAnyUse, Placement::kDevice);
    const Work work(device_, Copy(source.buffer(), target.handle(), kDenseBytes));
    const std::span<std::byte> mapped = source.Map().first(kDenseBytes);
    uint64_t seed = 0;
    const Measured measured = Measure(effort_, [&](Repetition& repetition) {
      ++seed;
      Fill(mapped, Content::kNoise, seed);
      repetition.EndPhase("write");
      work.Submit();
      repetition.EndPhase("submit");
      work.Wait();
      repetition.EndPhase("wait");
    });
    Verify(target, Content::kNoise, seed);
    PrintFigure(one.name, Unit::kGigabytesPerSecond, measured, kDenseBytes);
  }
}

void MemoryBench::Sparse(bool every_count) const {
  const auto name = [](size_t pages) {
    return "sparse: " + Grouped(pages) + " of 65,536 pages written";
  };
  std::vector<size_t> counts;
  for (size_t pages = 1; pages <= kSparsePages; pages *= every_count ? 4 : 256) {
    if (Wanted(name(pages))) {
      counts.push_back(pages);
    }
  }
  if (counts.empty()) {
    return;
  }
  HostBuffers source(device_, {kSparseBytes, kSource});
  const Buffer target(device_, kPageBytes, kAnyUse, Placement::kDevice);
  // What can be reached is decided by allocation, so that the work itself may be small.
  const Work work(device_, Copy(source.buffer(), target.handle(), kPageBytes));
  const std::span<std::byte> mapped = source.Map().first(kSparseBytes);
  uint64_t seed = 1;
  Fill(mapped, Content::kNoise, seed);
  work.Run();
  for (const size_t pages : counts) {
    const Measured measured = Measure(effort_, [&](Repetition& repetition) {
      ++seed;
      ForEachPage(mapped, pages,
                  [&](std::span<std::byte> page) { Fill(page, Content::kNoise, seed); });
      repetition.EndPhase("write");
      work.Submit();
      repetition.EndPhase("submit");
      work.Wait();
      repetition.EndPhase("wait");
    });
    PrintFigure(name(pages), Unit::kMilliseconds, measured);
  }
}

void MemoryBench::IdleKind(const std::string& kind, const Work& work) const {
  if (!Wanted("idle: " + kind + ", 1 GiB mapped that the device may write: difference")) {
    return;
  }
  const auto measure = [&] {
    return Measure(effort_, [&](Repetition& repetition) {
      work.Submit();
      repetition.EndPhase("submit");
      work.Wait();
      repetition.EndPhase("wait");
    });
  };
  const Measured without = measure();
  PrintFigure("idle: " + kind + ", nothing mapped", Unit::kMicroseconds, without);
  struct Case {
    const char* name;
    VkBufferUsageFlags usage;
  };
  for (const Case& one : {Case{"1 GiB mapped", kSource | VK_BUFFER_USAGE_VERTEX_BUFFER_BIT},
                          Case{"1 GiB mapped that the device may write", kAnyUse}}) {
    const std::string name = "idle: " + kind + ", " + one.name;
    std::vector<std::unique_ptr<HostBuffers>> buffers;
    for (size_t i = 0; i < kIdleBuffers; ++i) {
      buffers.push_back(
          std::make_unique<HostBuffers>(device_, BufferRequest{kIdleBufferBytes, one.usage}));
      Fill(buffers.back()->Map(), Content::kNoise, i);
    }
    work.Run();  // what was written is sent now
    const Measured with = measure();
    PrintFigure(name, Unit::kMicroseconds, with);
    PrintValue(name + ": difference", "us more", (with.seconds - without.seconds) * 1e6);
  }
}

void MemoryBench::Idle() const {
  IdleKind("empty submission", Work(device_, [](const DeviceCommands&, VkCommandBuffer) {}));
  const HostBuffers number(device_, {sizeof(uint32_t), kAnyUse});
  const Counter counter(device_, number.buffer());
  IdleKind("small dispatch", Work(device_, counter.Record()));
}

void MemoryBench::Readback() const {
  const std::string name = "readback: device writes 64 MiB, program reads it";
  if (!Wanted(name)) {
    return;
  }
  HostBuffers result(device_, {kDenseBytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT},
                     VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
  const std::span<std::byte> mapped = result.Map().first(kDenseBytes);
  // Two contents take turns, so that each byte is new each time.
  std::vector<std::unique_ptr<Buffer>> contents;
  std::vector<std::unique_ptr<Work>> works;
  for (uint64_t seed = 0; seed < 2; ++seed) {
    HostBuffers staging(device_, {kDenseBytes, kSource});
    Fill(staging.Map().first(kDenseBytes), Content::kNoise, seed);
    contents.push_back(std::make_unique<Buffer>(device_, kDenseBytes, kAnyUse, Placement::kDevice));
    const VkBuffer content = contents.back()->handle();
    Work(device_, Copy(staging.buffer(), content, kDenseBytes)).Run();
    const VkBuffer target = result.buffer();
    works.push_back(
        std::make_unique<Work>(device_, [=](const DeviceCommands& vk, VkCommandBuffer commands) {
          Copy(content, target, kDenseBytes)(vk, commands);
          ReleaseToHost(vk, commands);
        }));
  }
  std::vector<std::byte> expected[2];
  for (uint64_t seed = 0; seed < 2; ++seed) {
    expected[seed].resize(kDenseBytes);
    Fill(expected[seed], Content::kNoise, seed);
  }
  size_t turn = 0;
  const Measured measured = Measure(effort_, [&](Repetition& repetition) {
    turn = 1 - turn;
    works[turn]->Submit();
    repetition.EndPhase("submit");
    works[turn]->Wait();
    repetition.EndPhase("wait");
    uint64_t sum = 0;
    for (size_t offset = 0; offset < kDenseBytes; offset += sizeof(uint64_t)) {
      uint64_t word;
      std::memcpy(&word, mapped.data() + offset, sizeof(word));
      sum += word;
    }
    const volatile uint64_t keep = sum;
    static_cast<void>(keep);
    repetition.EndPhase("read");
    if (std::memcmp(mapped.data(), expected[turn].data(), kDenseBytes) != 0) {
      throw Failure("the program did not get what the device wrote.");
    }
  });
  PrintFigure(name, Unit::kGigabytesPerSecond, measured, kDenseBytes);
}

void MemoryBench::ReadCounter() const {
  const std::string name = "readback: counter after a dispatch, 256 MiB mapped";
  if (!Wanted(name)) {
    return;
  }
  const BufferRequest requests[] = {{kSparseBytes, kAnyUse}, {sizeof(uint32_t), kAnyUse}};
  HostBuffers buffers(device_, requests, VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
  const std::span<std::byte> mapped = buffers.Map();
  Fill(mapped, Content::kNoise, 1);
  const std::byte* place = mapped.data() + buffers.offset(1);
  const auto number = [place] {
    uint32_t value;
    std::memcpy(&value, place, sizeof(value));
    return value;
  };
  const Counter counter(device_, buffers.buffer(1));
  const Work work(device_, counter.Record());
  work.Run();
  uint32_t expected = number();
  const Measured measured = Measure(effort_, [&](Repetition& repetition) {
    work.Submit();
    repetition.EndPhase("submit");
    work.Wait();
    repetition.EndPhase("wait");
    if (number() != ++expected) {
      throw Failure("the counter is not what the device wrote.");
    }
    repetition.EndPhase("read");
  });
  PrintFigure(name, Unit::kMicroseconds, measured);
}

void MemoryBench::ManyMappings() const {
  const std::string name = "many: 1 of 1,000 mappings of 64 KiB written";
  if (!Wanted(name)) {
    return;
  }
  struct One {
    std::unique_ptr<HostBuffers> buffer;
    std::span<std::byte> mapped;
    std::unique_ptr<Work> work;
  };
  const Buffer target(device_, kManyBytes, kAnyUse, Placement::kDevice);
  std::vector<One> all(kManyMappings);
  for (size_t i = 0; i < all.size(); ++i) {
    One& one = all[i];
    one.buffer = std::make_unique<HostBuffers>(device_, BufferRequest{kManyBytes, kSource});
    one.mapped = one.buffer->Map().first(kManyBytes);
    Fill(one.mapped, Content::kNoise, i);
    one.work =
        std::make_unique<Work>(device_, Copy(one.buffer->buffer(), target.handle(), kManyBytes));
  }
  all.back().work->Run();
  size_t next = 0;
  const Measured measured = Measure(effort_, [&](Repetition& repetition) {
    const One& one = all[next % all.size()];
    Fill(one.mapped, Content::kNoise, ++next + kManyMappings);
    repetition.EndPhase("write");
    one.work->Submit();
    repetition.EndPhase("submit");
    one.work->Wait();
    repetition.EndPhase("wait");
  });
  PrintFigure(name, Unit::kMicroseconds, measured);
}

void MemoryBench::DenseOverLink(const std::string& name, Content content) const {
  if (!Wanted(name)) {
    return;
  }
  HostBuffers source(device_, {kLinkBytes, kSource});
  const Buffer target(device_, kLinkBytes, kAnyUse, Placement::kDevice);
  const Work work(device_, Copy(source.buffer(), target.handle(), kLinkBytes));
  const std::span<std::byte> mapped = source.Map().first(kLinkBytes);
  uint64_t seed = 0;
  const Measured measured = Measure(effort_, [&](Repetition& repetition) {
    Fill(mapped, content, ++seed);
    work.Run();
    repetition.EndPhase("all");
  });
  Verify(target, content, seed);
  PrintFigure(name, Unit::kMegabytesPerSecond, measured, kLinkBytes);
}

void MemoryBench::SparseOverLink(const std::string& name, Content content) const {
  if (!Wanted(name)) {
    return;
  }
  HostBuffers source(device_, {kLinkBytes, kSource});
  const Buffer target(device_, kPageBytes, kAnyUse, Placement::kDevice);
  const Work work(device_, Copy(source.buffer(), target.handle(), kPageBytes));
  const std::span<std::byte> mapped = source.Map().first(kLinkBytes);
  uint64_t seed = 0;
  const Measured measured = Measure(effort_, [&](Repetition& repetition) {
    ForEachPage(mapped, kLinkPages,
                [&](std::span<std::byte> page) { Fill(page, content, ++seed); });
    work.Run();
    repetition.EndPhase("all");
  });
  PrintFigure(name, Unit::kMegabytesPerSecond, measured, kLinkPages * kPageBytes);
}

void MemoryBench::Link() const {
  DenseOverLink("link: write 8 MiB mapped, noise", Content::kNoise);
  DenseOverLink("link: write 8 MiB mapped, records", Content::kRecords);
  SparseOverLink("link: 256 of 2,048 pages written, noise", Content::kNoise);
  SparseOverLink("link: 256 of 2,048 pages written, records", Content::kRecords);
}

int Run(int argc, char** argv) {
  CLI::App app("Measures mapped memory on the first Vulkan device.", "memory_bench");
  bool quick = false;
  bool link = false;
  bool describe = false;
  std::string only;
  app.add_flag("--quick", quick, "few repetitions, and fewer figures");
  app.add_flag("--link", link, "the figures for a slow link, and no others");
  app.add_flag("--describe", describe, "name the device and its driver, and measure nothing");
  app.add_option("--only", only, "figures whose name contains this");
  CLI11_PARSE(app, argc, argv);

  const Instance instance("memory_bench", VK_API_VERSION_1_4);
  const Device device(instance, 0);
  if (describe) {
    std::printf("%s, %s\n", device.name().c_str(), device.driver().c_str());
    return 0;
  }
  const MemoryBench bench(device, quick ? Effort::Quick() : Effort(), only);
  if (link) {
    bench.Link();
    return 0;
  }
  bench.DenseUnmapped();
  bench.DensePersistent();
  bench.Sparse(!quick);
  bench.Idle();
  bench.Readback();
  bench.ReadCounter();
  bench.ManyMappings();
  return 0;
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) {
  return vesper::bench::RunProgram("memory_bench", vesper::bench::Run, argc, argv);
}
