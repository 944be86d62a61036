// SPDX-License-Identifier: Apache-2.0
#include "client_icd/render_pass.h"

#include "client_icd/answers.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

/// VkSubpassDescription or VkSubpassDescription2.
template <typename Description>
RenderPass::Subpass UsesOf(const Description& description) {
  RenderPass::Subpass uses;
  for (uint32_t i = 0; i < description.colorAttachmentCount; ++i) {
    uses.uses_color |= description.pColorAttachments[i].attachment != VK_ATTACHMENT_UNUSED;
  }
  uses.uses_depth_stencil = description.pDepthStencilAttachment != nullptr &&
                            description.pDepthStencilAttachment->attachment != VK_ATTACHMENT_UNUSED;
  return uses;
}

template <typename Args, typename CreateInfo>
VkResult Create(VkDevice device, const CreateInfo* info, const VkAllocationCallbacks* callbacks,
                VkRenderPass* handle, uint16_t number, uint16_t record_index) {
  Device& owner = Device::From(device);
  const Allocator allocator(callbacks, owner.allocator());
  *handle = VK_NULL_HANDLE;
  std::vector<RenderPass::Subpass> subpasses;
  for (uint32_t i = 0; i < info->subpassCount; ++i) {
    subpasses.push_back(UsesOf(info->pSubpasses[i]));
  }
  auto* render_pass = allocator.New<RenderPass>(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
  if (render_pass == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  render_pass->allocator = allocator;
  render_pass->subpasses = std::move(subpasses);
  render_pass->creation = HashOfCreation(owner, record_index, info);
  Args args{device, info, nullptr, handle};
  const VkResult result =
      CreateObjects(owner, Send::kPost, number, &args, &args.ret, proto::HandleType::kRenderPass,
                    reinterpret_cast<uint64_t*>(handle), 1, kHostMemory | kDeviceMemory);
  if (result != VK_SUCCESS) {
    allocator.Delete(render_pass);
    return result;
  }
  owner.session().store().SetState(ToId(*handle), render_pass);
  return VK_SUCCESS;
}

}  // namespace

std::optional<proto::Hash128> CreationOf(Device& device, VkRenderPass handle) {
  const auto* render_pass =
      static_cast<const RenderPass*>(device.session().store().State(ToId(handle)));
  return render_pass == nullptr ? std::nullopt : render_pass->creation;
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateRenderPass(VkDevice device,
                                                  const VkRenderPassCreateInfo* pCreateInfo,
                                                  const VkAllocationCallbacks* pAllocator,
                                                  VkRenderPass* pRenderPass) {
  return Create<proto::Args_vkCreateRenderPass>(device, pCreateInfo, pAllocator, pRenderPass,
                                                proto::command_number::vkCreateRenderPass,
                                                proto::record_index::VkRenderPassCreateInfo);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateRenderPass2(VkDevice device,
                                                   const VkRenderPassCreateInfo2* pCreateInfo,
                                                   const VkAllocationCallbacks* pAllocator,
                                                   VkRenderPass* pRenderPass) {
  return Create<proto::Args_vkCreateRenderPass2>(device, pCreateInfo, pAllocator, pRenderPass,
                                                 proto::command_number::vkCreateRenderPass2,
                                                 proto::record_index::VkRenderPassCreateInfo2);
}

VKAPI_ATTR void VKAPI_CALL vkDestroyRenderPass(VkDevice device, VkRenderPass renderPass,
                                               const VkAllocationCallbacks*) {
  if (renderPass == VK_NULL_HANDLE) {
    return;
  }
  Device& owner = Device::From(device);
  Session& session = owner.session();
  auto* object = static_cast<RenderPass*>(session.store().State(ToId(renderPass)));
  const proto::Args_vkDestroyRenderPass args{device, renderPass, nullptr};
  session.Post(proto::command_number::vkDestroyRenderPass, &args);
  session.store().Free(ToId(renderPass));
  if (object != nullptr) {
    const Allocator allocator = object->allocator;
    allocator.Delete(object);
  }
}

}  // namespace entry
}  // namespace vesper::client
