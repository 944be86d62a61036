// SPDX-License-Identifier: Apache-2.0
// A program that uses Vulkan, to be started, watched and killed by tests:
//
//   guest_program create   creates an instance and says what came of it: exit status 0, or 3
//   guest_program hold     opens a device, prints "ready" and sleeps until it is killed
//   guest_program render   opens a device, prints "ready" and submits work until it is killed
//   guest_program leave    opens a device, asks about a format and ends without closing it
//   guest_program fork     the same, after a forked child has ended in the same way
//   guest_program stuck    submits work that will never be done, prints "ready" and sleeps
#include <sys/wait.h>
#include <unistd.h>

#include <exception>
#include <iostream>
#include <string>

#include "tests/framework/resources.h"

namespace vesper::tests {
namespace {

int Create() {
  Gpu gpu;
  try {
    gpu.OpenInstance();
  } catch (const VulkanError& error) {
    std::cout << ResultName(error.result()) << std::endl;
    return 3;
  }
  std::cout << ResultName(VK_SUCCESS) << std::endl;
  return 0;
}

int Leave(bool fork_first) {
  static auto* gpu = new Gpu;  // never deleted: that is what this is about
  gpu->Open();
  VkFormatProperties format;
  gpu->vk.GetPhysicalDeviceFormatProperties(gpu->physical_device, VK_FORMAT_R8_UNORM, &format);
  if (fork_first) {
    const pid_t child = fork();
    if (child == 0) {
      return 0;
    }
    int status = -1;
    return waitpid(child, &status, 0) == child ? status : -1;
  }
  return 0;
}

int Hold() {
  Gpu gpu;
  gpu.Open();
  const Buffer buffer = MakeHostBuffer(gpu, 1 << 20);
  std::cout << "ready" << std::endl;
  while (true) {
    pause();
  }
}

int Stuck() {
  Gpu gpu;
  gpu.Open();
  const Owned<VkEvent> never = gpu.MakeEvent();
  gpu.Submit(gpu.Record([&](VkCommandBuffer commands) {
    gpu.vk.CmdWaitEvents(commands, 1, never.address(), VK_PIPELINE_STAGE_HOST_BIT,
                         VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, nullptr, 0, nullptr, 0, nullptr);
  }));
  std::cout << "ready" << std::endl;
  while (true) {
    pause();
  }
}

int Render() {
  Gpu gpu;
  gpu.Open();
  const Buffer buffer = MakeHostBuffer(gpu, 1 << 20);
  for (uint32_t i = 0;; ++i) {
    gpu.Execute([&](VkCommandBuffer commands) {
      gpu.vk.CmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, i);
    });
    if (i == 3) {
      std::cout << "ready" << std::endl;
    }
  }
}

}  // namespace
}  // namespace vesper::tests

int main(int argc, char** argv) {
  const std::string mode = argc == 2 ? argv[1] : "";
  try {
    if (mode == "create") {
      return vesper::tests::Create();
    }
    if (mode == "hold") {
      return vesper::tests::Hold();
    }
    if (mode == "leave" || mode == "fork") {
      return vesper::tests::Leave(mode == "fork");
    }
    if (mode == "render") {
      return vesper::tests::Render();
    }
    if (mode == "stuck") {
      return vesper::tests::Stuck();
    }
    std::cerr << "usage: guest_program create|leave|fork|hold|render|stuck\n";
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
  }
  return 2;
}
