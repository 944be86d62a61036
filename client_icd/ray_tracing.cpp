// SPDX-License-Identifier: Apache-2.0
//
// What programs ask about ray tracing pipelines: handles of shader groups, which go into the tables
// of shaders, and stack sizes. They are known when the pipeline is compiled; the questions are
// asked right behind its creation, and the host answers them when it has the pipeline.
#include "client_icd/ray_tracing.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <vector>

#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "client_icd/physical_device.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

namespace command = proto::command_number;

/// Handles of more groups, and stack sizes of more, are asked for when the program does.
constexpr uint32_t kMaxGroups = 1024;

using GroupQuestions = std::array<std::shared_ptr<Question>, 4>;  // by VkShaderGroupShaderKHR

struct RayTracingPipeline : AllocatedObject {
  using AllocatedObject::AllocatedObject;

  uint32_t groups = 0;                      // with those of libraries
  std::shared_ptr<Question> handles;        // of all groups; null: not asked
  std::vector<GroupQuestions> stack_sizes;  // of the first groups
};

RayTracingPipeline* Find(Device& device, VkPipeline pipeline) {
  // Other pipelines have no such state.
  return dynamic_cast<RayTracingPipeline*>(
      static_cast<AllocatedObject*>(device.session().store().State(ToId(pipeline))));
}

uint32_t HandleBytes(const Device& device) {
  const auto* properties = FindInChain<VkPhysicalDeviceRayTracingPipelinePropertiesKHR>(
      device.physical_device().snapshot().properties->pNext,
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_RAY_TRACING_PIPELINE_PROPERTIES_KHR);
  return properties == nullptr ? 0 : properties->shaderGroupHandleSize;
}

VkPipelineCreateFlags2 FlagsOf(const VkRayTracingPipelineCreateInfoKHR& info) {
  const auto* flags = FindInChain<VkPipelineCreateFlags2CreateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_PIPELINE_CREATE_FLAGS_2_CREATE_INFO);
  return flags != nullptr ? flags->flags : info.flags;
}

bool SetsStackSize(const VkRayTracingPipelineCreateInfoKHR& info) {
  return info.pDynamicState != nullptr &&
         std::any_of(info.pDynamicState->pDynamicStates,
                     info.pDynamicState->pDynamicStates + info.pDynamicState->dynamicStateCount,
                     [](VkDynamicState state) {
                       return state == VK_DYNAMIC_STATE_RAY_TRACING_PIPELINE_STACK_SIZE_KHR;
                     });
}

/// The group's shader of this kind, or VK_SHADER_UNUSED_KHR.
uint32_t ShaderOf(const VkRayTracingShaderGroupCreateInfoKHR& group, uint32_t kind) {
  if (group.type == VK_RAY_TRACING_SHADER_GROUP_TYPE_GENERAL_KHR) {
    return kind == VK_SHADER_GROUP_SHADER_GENERAL_KHR ? group.generalShader : VK_SHADER_UNUSED_KHR;
  }
  switch (kind) {
    case VK_SHADER_GROUP_SHADER_CLOSEST_HIT_KHR:
      return group.closestHitShader;
    case VK_SHADER_GROUP_SHADER_ANY_HIT_KHR:
      return group.anyHitShader;
    case VK_SHADER_GROUP_SHADER_INTERSECTION_KHR:
      return group.type == VK_RAY_TRACING_SHADER_GROUP_TYPE_PROCEDURAL_HIT_GROUP_KHR
                 ? group.intersectionShader
                 : VK_SHADER_UNUSED_KHR;
    default:
      return VK_SHADER_UNUSED_KHR;
  }
}

GroupQuestions AskForStackSizes(Device& device, VkPipeline pipeline, uint32_t index,
                                const VkRayTracingShaderGroupCreateInfoKHR& group) {
  GroupQuestions questions;
  for (uint32_t kind = 0; kind < questions.size(); ++kind) {
    if (ShaderOf(group, kind) != VK_SHADER_UNUSED_KHR) {
      const proto::Args_vkGetRayTracingShaderGroupStackSizeKHR args{
          device.handle(), pipeline, index, static_cast<VkShaderGroupShaderKHR>(kind)};
      questions[kind] =
          device.session().AskAhead(command::vkGetRayTracingShaderGroupStackSizeKHR, &args);
    }
  }
  return questions;
}

void AskAbout(Device& device, const VkRayTracingPipelineCreateInfoKHR& info, VkPipeline pipeline,
              RayTracingPipeline& object) {
  if (const uint32_t bytes = HandleBytes(device) * object.groups; bytes != 0) {
    std::vector<std::byte> handles(bytes);
    const proto::Args_vkGetRayTracingShaderGroupHandlesKHR args{
        device.handle(), pipeline, 0, object.groups, bytes, handles.data()};
    object.handles =
        device.session().AskAhead(command::vkGetRayTracingShaderGroupHandlesKHR, &args);
  }
  if (SetsStackSize(info)) {
    for (uint32_t i = 0; i < std::min(info.groupCount, kMaxGroups); ++i) {
      object.stack_sizes.push_back(AskForStackSizes(device, pipeline, i, info.pGroups[i]));
    }
  }
}

/// With those of the libraries that the pipeline is linked of; 0 if that is not known.
uint32_t CountGroups(Device& device, const VkRayTracingPipelineCreateInfoKHR& info) {
  uint64_t groups = info.groupCount;
  for (uint32_t i = 0; info.pLibraryInfo != nullptr && i < info.pLibraryInfo->libraryCount; ++i) {
    const RayTracingPipeline* library = Find(device, info.pLibraryInfo->pLibraries[i]);
    if (library == nullptr || library->groups == 0) {
      return 0;
    }
    groups += library->groups;
  }
  return groups <= kMaxGroups ? static_cast<uint32_t>(groups) : 0;
}

}  // namespace

void NoteRayTracingPipeline(Device& device, const VkAllocationCallbacks* callbacks,
                            const VkRayTracingPipelineCreateInfoKHR& info, VkPipeline pipeline) {
  Session& session = device.session();
  if (!session.Pushes(kPushAddresses)) {
    return;
  }
  const Allocator allocator(callbacks, device.allocator());
  auto* object = allocator.New<RayTracingPipeline>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, allocator);
  if (object == nullptr) {
    return;  // it will be called
  }
  object->groups = CountGroups(device, info);
  // Of a library handles can be had only if the device promises so, and they are rarely wanted.
  if ((FlagsOf(info) & VK_PIPELINE_CREATE_2_LIBRARY_BIT_KHR) == 0) {
    try {
      AskAbout(device, info, pipeline, *object);
    } catch (const std::bad_alloc&) {
      // What is not asked now will be called.
    }
  }
  auto* replaced = static_cast<AllocatedObject*>(session.store().State(ToId(pipeline)));
  session.store().SetState(ToId(pipeline), static_cast<AllocatedObject*>(object));
  FreeObject(replaced);
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkGetRayTracingShaderGroupHandlesKHR(VkDevice device,
                                                                    VkPipeline pipeline,
                                                                    uint32_t firstGroup,
                                                                    uint32_t groupCount,
                                                                    size_t dataSize, void* pData) {
  Device& owner = Device::From(device);
  constexpr uint32_t kErrors = kHostMemory | kDeviceMemory;
  const RayTracingPipeline* object = Find(owner, pipeline);
  const uint64_t handle_bytes = HandleBytes(owner);
  if (object == nullptr || object->handles == nullptr || firstGroup > object->groups ||
      groupCount > object->groups - firstGroup || groupCount * handle_bytes > dataSize) {
    proto::Args_vkGetRayTracingShaderGroupHandlesKHR args{device,     pipeline, firstGroup,
                                                          groupCount, dataSize, pData};
    return CallResult(owner, command::vkGetRayTracingShaderGroupHandlesKHR, &args, &args.ret,
                      kErrors);
  }
  std::vector<std::byte> all(object->groups * handle_bytes);
  proto::Args_vkGetRayTracingShaderGroupHandlesKHR args{device,         pipeline,   0,
                                                        object->groups, all.size(), all.data()};
  if (owner.IsLost() || !owner.session().TakeAnswer(*object->handles, &args)) {
    return LostResult(kErrors);
  }
  if (args.ret == VK_SUCCESS && groupCount != 0) {
    std::memcpy(pData, all.data() + firstGroup * handle_bytes, groupCount * handle_bytes);
  }
  return args.ret;
}

VKAPI_ATTR VkDeviceSize VKAPI_CALL vkGetRayTracingShaderGroupStackSizeKHR(
    VkDevice device, VkPipeline pipeline, uint32_t group, VkShaderGroupShaderKHR groupShader) {
  Device& owner = Device::From(device);
  proto::Args_vkGetRayTracingShaderGroupStackSizeKHR args{device, pipeline, group, groupShader};
  const RayTracingPipeline* object = Find(owner, pipeline);
  const Question* question = nullptr;
  if (object != nullptr && group < object->stack_sizes.size() &&
      static_cast<uint32_t>(groupShader) < object->stack_sizes[group].size()) {
    question = object->stack_sizes[group][groupShader].get();
  }
  if (question != nullptr) {
    owner.session().TakeAnswer(*question, &args);
  } else {
    owner.session().Call(command::vkGetRayTracingShaderGroupStackSizeKHR, &args);
  }
  return args.ret;
}

}  // namespace entry
}  // namespace vesper::client
