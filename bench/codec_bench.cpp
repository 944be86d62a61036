// SPDX-License-Identifier: Apache-2.0
//
// What one command costs to encode and decode, against copying its bytes.
#include <benchmark/benchmark.h>

#include <cstring>

#include "proto/arena.h"
#include "proto/decoder.h"
#include "proto/encoder.h"
#include "proto/reader.h"
#include "proto/records_gen.h"

namespace vesper::bench {
namespace {

uint64_t Identity(proto::HandleType, uint64_t handle) { return handle; }

class AcceptAll : public proto::HandleResolver {
 public:
  void BeginCommand() override {}
  proto::Resolution Resolve(proto::HandleType, proto::ObjectId id, uint64_t* handle) override {
    *handle = id;
    return proto::Resolution::kResolved;
  }
};

struct Draw {
  static constexpr uint16_t kNumber = proto::command_number::vkCmdDraw;
  proto::Args_vkCmdDraw args{reinterpret_cast<VkCommandBuffer>(uintptr_t{1}), 3, 1, 0, 0};
};

/// A barrier as engines record them: two nested arrays with a pNext and a handle each.
struct Barrier {
  static constexpr uint16_t kNumber = proto::command_number::vkCmdPipelineBarrier2;
  VkImageMemoryBarrier2 images[2] = {{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2},
                                     {VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2}};
  VkMemoryBarrier2 memory{VK_STRUCTURE_TYPE_MEMORY_BARRIER_2};
  VkDependencyInfo info{
      VK_STRUCTURE_TYPE_DEPENDENCY_INFO, nullptr, 0, 1, &memory, 0, nullptr, 2, images};
  proto::Args_vkCmdPipelineBarrier2 args{reinterpret_cast<VkCommandBuffer>(uintptr_t{1}), &info};
};

template <typename Sample>
void Encode(benchmark::State& state) {
  const Sample sample;
  const proto::Record& record = *proto::CommandRecord(Sample::kNumber);
  const proto::KnownStructs known;
  proto::Buffer buffer;
  for (auto _ : state) {
    buffer.Clear();
    proto::Encoder(buffer, known, Identity).Request(record, &sample.args);
    benchmark::DoNotOptimize(buffer.size());
  }
}

template <typename Sample>
void Decode(benchmark::State& state) {
  const Sample sample;
  const proto::Record& record = *proto::CommandRecord(Sample::kNumber);
  const proto::KnownStructs known;
  proto::Buffer buffer;
  proto::Encoder(buffer, known, Identity).Request(record, &sample.args);
  proto::Arena arena;
  AcceptAll resolver;
  proto::Decoder decoder(arena, &resolver);
  for (auto _ : state) {
    arena.Reset();
    proto::Reader reader(buffer.Bytes());
    void* args = arena.Allocate(record.size);
    if (decoder.Request(record, reader, args) != proto::DecodeResult::kDecoded) {
      state.SkipWithError("the sample does not decode");
      break;
    }
  }
}

/// What both are measured against.
template <typename Sample>
void Copy(benchmark::State& state) {
  const Sample sample;
  const proto::KnownStructs known;
  proto::Buffer buffer;
  proto::Encoder(buffer, known, Identity)
      .Request(*proto::CommandRecord(Sample::kNumber), &sample.args);
  proto::Buffer copy;
  for (auto _ : state) {
    copy.Clear();
    copy.Put(buffer.Bytes().data(), buffer.size());
    benchmark::DoNotOptimize(copy.size());
  }
}

BENCHMARK(Copy<Draw>);
BENCHMARK(Encode<Draw>);
BENCHMARK(Decode<Draw>);
BENCHMARK(Copy<Barrier>);
BENCHMARK(Encode<Barrier>);
BENCHMARK(Decode<Barrier>);

}  // namespace
}  // namespace vesper::bench

BENCHMARK_MAIN();
