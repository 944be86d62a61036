// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_INTEGRATION_GPU_WORK_H_
#define VESPER_TESTS_INTEGRATION_GPU_WORK_H_

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "tests/framework/test_memory.h"

namespace vesper::tests {

// Something for the GPU to do with plots, and what then must be in them.
struct GpuWork {
  std::function<void(VkCommandBuffer)> record;
  // Does it to the contents that the plots must have, and marks what it touches as busy.
  std::function<void()> model;
};

// Makes random work out of everything that writes memory: transfers, copies through images, shaders
// with descriptors and shaders with addresses. For one thread.
class GpuWorkMaker {
 public:
  GpuWorkMaker(Gpu& gpu, std::span<const std::unique_ptr<TestMemory>> memories);

  // Nothing if the plots that were picked don't suit the work that was.
  std::optional<GpuWork> Make(std::vector<Plot>& plots, Random& random);

 private:
  using Made = std::optional<GpuWork>;
  struct Range {
    size_t begin = 0;  // in the plot
    size_t size = 0;
  };

  static Plot* Pick(std::vector<Plot>& plots, Random& random,
                    const std::function<bool(const Plot&)>& suits);
  static Range Part(const Plot& plot, Random& random, size_t limit = SIZE_MAX);
  // The same, with both ends on words of the allocation; empty if the plot has no whole word.
  static Range Words(const Plot& plot, Random& random, size_t limit = SIZE_MAX);

  Made Fill(Plot& to, Random& random);
  Made Update(Plot& to, Random& random);
  Made Copy(Plot& from, Plot& to, Random& random);
  Made CopySingleBytes(Plot& from, Plot& to, Random& random);
  Made CopyThroughImage(Plot& from, Plot& to, Random& random);
  Made CopyIntoImage(Plot& from, Plot& to, Random& random);
  Made CopyOutOfImage(Plot& from, Plot& to, Random& random);
  Made Scatter(Plot& to, Random& random);

  // Leads the scatter that is recorded next to bytes [first, first + size) of the memory, in the
  // way that was picked or, if it doesn't suit them, another. Where they begin in what it sees.
  enum class Way { kSet, kDynamicOffset, kPush, kAddress };
  struct Led {
    const Kernel* kernel;
    VkDeviceSize first;
  };
  Led Lead(VkCommandBuffer commands, const TestMemory& memory, VkDeviceSize first,
           VkDeviceSize size, Way way);

  Gpu& gpu_;
  Image scratch_;
  std::map<const TestMemory*, Kernel> kernels_;         // with all of the memory
  std::map<const TestMemory*, Kernel> window_kernels_;  // with kWindow bytes from a dynamic offset
  Kernel address_kernel_;
  Kernel push_kernel_;  // with as much as is needed, pushed; none if the device can't
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_INTEGRATION_GPU_WORK_H_
