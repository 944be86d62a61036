// SPDX-License-Identifier: Apache-2.0
//
// Fourier transforms with VkFFT, which writes a shader for each, has it compiled while it runs, and
// records chains of dispatches. Compiled by the script `vkfft` beside this file, since VkFFT is a
// header of Debian's.
//
// For each transform: a checksum of the spectrum, and one of what the inverse transform makes of
// it; and the largest difference from the beginning, which must be small.
#define VKFFT_BACKEND 0
#include <glslang/Include/glslang_c_interface.h>
#include <vkFFT.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

void Check(bool is_right, const char* what) {
  if (!is_right) {
    std::fprintf(stderr, "vkfft: %s failed\n", what);
    std::exit(1);
  }
}

struct Transform {
  const char* name;
  uint64_t dimensions;
  uint64_t size[3];
  bool is_real;
  bool is_double;
};

const Transform kTransforms[] = {
    {"1024", 1, {1024, 1, 1}, false, false},
    {"1000, real", 1, {1000, 1, 1}, true, false},
    {"1001", 1, {1001, 1, 1}, false, false},
    {"65536", 1, {65536, 1, 1}, false, false},
    {"128 x 96", 2, {128, 96, 1}, false, false},
    {"32 x 30 x 28", 3, {32, 30, 28}, false, false},
    {"256 x 64, double", 2, {256, 64, 1}, false, true},
};

class Program {
 public:
  Program() {
    VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO};
    application.apiVersion = VK_API_VERSION_1_1;
    VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    info.pApplicationInfo = &application;
    Check(vkCreateInstance(&info, nullptr, &instance_) == VK_SUCCESS, "vkCreateInstance");
    uint32_t count = 1;
    Check(vkEnumeratePhysicalDevices(instance_, &count, &physical_) >= 0 && count == 1, "a device");
    const float priority = 1;
    VkDeviceQueueCreateInfo queue{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    VkPhysicalDeviceFeatures features{};
    features.shaderFloat64 = VK_TRUE;
    VkDeviceCreateInfo device{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
    device.queueCreateInfoCount = 1;
    device.pQueueCreateInfos = &queue;
    device.pEnabledFeatures = &features;
    Check(vkCreateDevice(physical_, &device, nullptr, &device_) == VK_SUCCESS, "vkCreateDevice");
    vkGetDeviceQueue(device_, 0, 0, &queue_);
    const VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr,
                                       VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, 0};
    Check(vkCreateCommandPool(device_, &pool, nullptr, &pool_) == VK_SUCCESS, "a command pool");
    const VkFenceCreateInfo fence{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    Check(vkCreateFence(device_, &fence, nullptr, &fence_) == VK_SUCCESS, "vkCreateFence");
  }

  ~Program() {
    vkDestroyFence(device_, fence_, nullptr);
    vkDestroyCommandPool(device_, pool_, nullptr);
    vkDestroyDevice(device_, nullptr);
    vkDestroyInstance(instance_, nullptr);
  }

  template <typename Number>
  void Run(const Transform& transform) {
    const uint64_t points = transform.size[0] * transform.size[1] * transform.size[2];
    // A real row is padded to what its spectrum takes.
    const uint64_t row = transform.is_real ? transform.size[0] + 2 : 2 * transform.size[0];
    const uint64_t numbers = row * (points / transform.size[0]);
    uint64_t bytes = numbers * sizeof(Number);
    MakeBuffer(bytes);
    auto* const data = static_cast<Number*>(mapped_);
    std::vector<Number> before(numbers);
    for (uint64_t i = 0; i < numbers; ++i) {
      before[i] = static_cast<Number>(static_cast<int>(i * 2654435761u >> 20 & 255) - 128) / 64;
    }
    std::memcpy(data, before.data(), bytes);

    VkFFTConfiguration configuration{};
    configuration.FFTdim = transform.dimensions;
    std::memcpy(configuration.size, transform.size, sizeof(transform.size));
    configuration.physicalDevice = &physical_;
    configuration.device = &device_;
    configuration.queue = &queue_;
    configuration.commandPool = &pool_;
    configuration.fence = &fence_;
    configuration.isCompilerInitialized = 1;
    configuration.bufferSize = &bytes;
    configuration.buffer = &buffer_;
    configuration.performR2C = transform.is_real ? 1 : 0;
    configuration.doublePrecision = transform.is_double ? 1 : 0;
    configuration.normalize = 1;
    VkFFTApplication application{};
    Check(initializeVkFFT(&application, configuration) == VKFFT_SUCCESS, "initializeVkFFT");
    Append(&application, -1);
    const uint64_t spectrum = Checksum(bytes);
    Append(&application, 1);
    double worst = 0;
    for (uint64_t i = 0; i < numbers; ++i) {
      if (!transform.is_real || i % row < transform.size[0]) {  // the padding is nobody's
        worst = std::fmax(worst, std::fabs(static_cast<double>(data[i] - before[i])));
      }
    }
    Check(worst < (transform.is_double ? 1e-10 : 1e-3), transform.name);
    std::printf("%s: %016llx %016llx %g\n", transform.name,
                static_cast<unsigned long long>(spectrum),
                static_cast<unsigned long long>(Checksum(bytes)), worst);
    deleteVkFFT(&application);
    vkDestroyBuffer(device_, buffer_, nullptr);
    vkFreeMemory(device_, memory_, nullptr);
  }

 private:
  void MakeBuffer(uint64_t bytes) {
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = bytes;
    info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
    Check(vkCreateBuffer(device_, &info, nullptr, &buffer_) == VK_SUCCESS, "vkCreateBuffer");
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device_, buffer_, &needs);
    VkPhysicalDeviceMemoryProperties properties;
    vkGetPhysicalDeviceMemoryProperties(physical_, &properties);
    constexpr VkMemoryPropertyFlags kWanted =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    uint32_t type = 0;
    while ((needs.memoryTypeBits >> type & 1) == 0 ||
           (properties.memoryTypes[type].propertyFlags & kWanted) != kWanted) {
      Check(++type < properties.memoryTypeCount, "memory that can be mapped");
    }
    const VkMemoryAllocateInfo allocation{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr,
                                          needs.size, type};
    Check(vkAllocateMemory(device_, &allocation, nullptr, &memory_) == VK_SUCCESS &&
              vkBindBufferMemory(device_, buffer_, memory_, 0) == VK_SUCCESS &&
              vkMapMemory(device_, memory_, 0, VK_WHOLE_SIZE, 0, &mapped_) == VK_SUCCESS,
          "memory");
  }

  void Append(VkFFTApplication* application, int direction) {
    VkCommandBuffer commands = VK_NULL_HANDLE;
    const VkCommandBufferAllocateInfo allocation{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                                 nullptr, pool_, VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                                 1};
    vkAllocateCommandBuffers(device_, &allocation, &commands);
    const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    vkBeginCommandBuffer(commands, &begin);
    VkFFTLaunchParams launch{};
    launch.commandBuffer = &commands;
    Check(VkFFTAppend(application, direction, &launch) == VKFFT_SUCCESS, "VkFFTAppend");
    const VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr,
                                  VK_ACCESS_SHADER_WRITE_BIT, VK_ACCESS_HOST_READ_BIT};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_HOST_BIT,
                         0, 1, &barrier, 0, nullptr, 0, nullptr);
    Check(vkEndCommandBuffer(commands) == VK_SUCCESS, "recording");
    VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &commands;
    Check(vkQueueSubmit(queue_, 1, &submit, fence_) == VK_SUCCESS &&
              vkWaitForFences(device_, 1, &fence_, VK_TRUE, UINT64_MAX) == VK_SUCCESS &&
              vkResetFences(device_, 1, &fence_) == VK_SUCCESS,
          "the work");
    vkFreeCommandBuffers(device_, pool_, 1, &commands);
  }

  uint64_t Checksum(uint64_t bytes) const {
    uint64_t sum = 0xcbf29ce484222325;
    for (uint64_t i = 0; i < bytes; ++i) {
      sum = (sum ^ static_cast<const uint8_t*>(mapped_)[i]) * 0x100000001b3;
    }
    return sum;
  }

  VkInstance instance_ = VK_NULL_HANDLE;
  VkPhysicalDevice physical_ = VK_NULL_HANDLE;
  VkDevice device_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  VkBuffer buffer_ = VK_NULL_HANDLE;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  void* mapped_ = nullptr;
};

}  // namespace

int main() {
  Check(glslang_initialize_process() != 0, "glslang_initialize_process");
  {
    Program program;
    for (const Transform& transform : kTransforms) {
      if (transform.is_double) {
        program.Run<double>(transform);
      } else {
        program.Run<float>(transform);
      }
    }
  }
  glslang_finalize_process();
  return 0;
}
