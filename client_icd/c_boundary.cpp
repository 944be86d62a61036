// SPDX-License-Identifier: Apache-2.0
#include "client_icd/c_boundary.h"

#include "client_icd/command_buffer.h"
#include "client_icd/device.h"
#include "client_icd/instance.h"
#include "client_icd/physical_device.h"
#include "client_icd/queue.h"

namespace vesper::client {
namespace {

constexpr const char* kReason = "the program's process has no memory left";

}  // namespace

void AbandonAfterException(VkInstance instance) {
  if (instance != VK_NULL_HANDLE) {
    Instance::From(instance).session().Lose(kReason);
  }
}

void AbandonAfterException(VkPhysicalDevice physical_device) {
  PhysicalDevice::From(physical_device).session().Lose(kReason);
}

void AbandonAfterException(VkDevice device) {
  if (device != VK_NULL_HANDLE) {
    Device::From(device).session().Lose(kReason);
  }
}

void AbandonAfterException(VkQueue queue) { Queue::From(queue).session().Lose(kReason); }

void AbandonAfterException(VkCommandBuffer command_buffer) {
  CommandBuffer::From(command_buffer).Fail();
}

}  // namespace vesper::client
