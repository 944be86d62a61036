// SPDX-License-Identifier: Apache-2.0
//
// The session's descriptors: the driver executes these commands like any other, and what they say
// is remembered, for from that follows what shaders can write.
#include "server/session.h"

namespace vesper::server {

namespace number = proto::command_number;

void Session::BreakTargets(const proto::Args_vkUpdateDescriptorSets& args) {
  const auto break_set = [this](VkDescriptorSet set) {
    objects_.Break(proto::HandleType::kDescriptorSet, reinterpret_cast<uint64_t>(set));
  };
  for (uint32_t i = 0; args.pDescriptorWrites != nullptr && i < args.descriptorWriteCount; ++i) {
    break_set(args.pDescriptorWrites[i].dstSet);
  }
  for (uint32_t i = 0; args.pDescriptorCopies != nullptr && i < args.descriptorCopyCount; ++i) {
    break_set(args.pDescriptorCopies[i].dstSet);
  }
}

void Session::NoteDescriptors(Context& context, HostDevice& device, uint16_t command,
                              const void* args) {
  HostDescriptors& descriptors = device.descriptors();
  switch (command) {
    case number::vkCreateDescriptorSetLayout: {
      const auto& a = *static_cast<const proto::Args_vkCreateDescriptorSetLayout*>(args);
      if (a.ret == VK_SUCCESS) {
        descriptors.Add(*a.pSetLayout, *a.pCreateInfo);
      }
      break;
    }
    case number::vkCreateBufferView: {
      const auto& a = *static_cast<const proto::Args_vkCreateBufferView*>(args);
      if (a.ret == VK_SUCCESS) {
        descriptors.Add(*a.pView, *a.pCreateInfo);
      }
      break;
    }
    case number::vkAllocateDescriptorSets: {
      const auto& a = *static_cast<const proto::Args_vkAllocateDescriptorSets*>(args);
      const VkDescriptorSetAllocateInfo& info = *a.pAllocateInfo;
      NoteChildren(reinterpret_cast<uint64_t>(info.descriptorPool), context.decoder.new_ids(),
                   a.ret);
      for (uint32_t i = 0; a.ret == VK_SUCCESS && i < info.descriptorSetCount; ++i) {
        descriptors.Add(a.pDescriptorSets[i],
                        info.pSetLayouts == nullptr ? VK_NULL_HANDLE : info.pSetLayouts[i]);
      }
      break;
    }
    case number::vkUpdateDescriptorSets: {
      const auto& a = *static_cast<const proto::Args_vkUpdateDescriptorSets*>(args);
      descriptors.Update(a.pDescriptorWrites, a.descriptorWriteCount, a.pDescriptorCopies,
                         a.descriptorCopyCount);
      break;
    }
    default:
      break;
  }
}

void Session::ForgetDescriptors(HostDevice& device, uint16_t command, const void* args) {
  HostDescriptors& descriptors = device.descriptors();
  switch (command) {
    case number::vkDestroyDescriptorSetLayout:
      descriptors.Remove(
          static_cast<const proto::Args_vkDestroyDescriptorSetLayout*>(args)->descriptorSetLayout);
      break;
    case number::vkDestroyBufferView:
      descriptors.Remove(static_cast<const proto::Args_vkDestroyBufferView*>(args)->bufferView);
      break;
    case number::vkFreeDescriptorSets: {
      const auto& a = *static_cast<const proto::Args_vkFreeDescriptorSets*>(args);
      for (uint32_t i = 0; a.pDescriptorSets != nullptr && i < a.descriptorSetCount; ++i) {
        descriptors.Remove(a.pDescriptorSets[i]);
      }
      break;
    }
    default:
      break;
  }
}

}  // namespace vesper::server
