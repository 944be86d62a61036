// SPDX-License-Identifier: Apache-2.0
//
// vkQueuePresentKHR: one submission for all its swapchains, which waits for the program's
// semaphores and copies, and a presentation for each (presenter.h).
#include <algorithm>
#include <vector>

#include "client_icd/chain.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/fence.h"
#include "client_icd/queue.h"
#include "client_icd/wsi/swapchain.h"

namespace vesper::client {
namespace {

/// Of what each swapchain says, what the whole call says: the worst.
VkResult Worse(VkResult a, VkResult b) {
  constexpr VkResult kOrder[] = {VK_SUCCESS, VK_SUBOPTIMAL_KHR, VK_ERROR_OUT_OF_DATE_KHR,
                                 VK_ERROR_SURFACE_LOST_KHR};
  const auto rank = [&](VkResult result) { return std::ranges::find(kOrder, result); };
  return rank(a) < rank(b) ? b : a;
}

/// The rectangles that VK_KHR_incremental_present gives for one of the swapchains, within the
/// image; none if all of it has changed.
std::vector<VkRect2D> DamageOf(const VkPresentInfoKHR& info, uint32_t index) {
  const auto* regions =
      FindInChain<VkPresentRegionsKHR>(info.pNext, VK_STRUCTURE_TYPE_PRESENT_REGIONS_KHR);
  std::vector<VkRect2D> damage;
  if (regions != nullptr && regions->pRegions != nullptr) {
    const VkPresentRegionKHR& region = regions->pRegions[index];
    for (uint32_t i = 0; region.pRectangles != nullptr && i < region.rectangleCount; ++i) {
      damage.push_back({region.pRectangles[i].offset, region.pRectangles[i].extent});
    }
  }
  return damage;
}

/// Nothing is submitted. Null are those that were not looked at yet.
void ForgetCopies(const std::vector<Swapchain*>& swapchains) {
  for (Swapchain* swapchain : swapchains) {
    if (swapchain != nullptr) {
      swapchain->ForgetCopies();
    }
  }
}

}  // namespace

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkQueuePresentKHR(VkQueue queue,
                                                 const VkPresentInfoKHR* pPresentInfo) {
  Queue& on = Queue::From(queue);
  Device& device = on.device();
  const VkPresentInfoKHR& info = *pPresentInfo;
  std::vector<Swapchain*> swapchains(info.swapchainCount);
  std::vector<VkCommandBuffer> copies;
  for (uint32_t i = 0; i < info.swapchainCount; ++i) {
    swapchains[i] = Swapchain::Find(device, info.pSwapchains[i]);
    if (swapchains[i]->NeedsCopy()) {
      copies.push_back(
          swapchains[i]->CopyOf(info.pImageIndices[i], on.family(), DamageOf(info, i)));
      if (copies.back() == VK_NULL_HANDLE) {
        ForgetCopies(swapchains);
        return device.IsLost() ? VK_ERROR_DEVICE_LOST : VK_ERROR_OUT_OF_HOST_MEMORY;
      }
    }
  }
  const std::vector<VkPipelineStageFlags> stages(info.waitSemaphoreCount,
                                                 VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  const VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO,
                            nullptr,
                            info.waitSemaphoreCount,
                            info.pWaitSemaphores,
                            stages.data(),
                            static_cast<uint32_t>(copies.size()),
                            copies.data(),
                            0,
                            nullptr};
  uint64_t batch = 0;
  if (const VkResult result = on.SubmitForPresenting(submit, &batch); result != VK_SUCCESS) {
    ForgetCopies(swapchains);
    std::fill_n(info.pResults, info.pResults == nullptr ? 0 : info.swapchainCount, result);
    return result;
  }
  const auto* ids = FindInChain<VkPresentIdKHR>(info.pNext, VK_STRUCTURE_TYPE_PRESENT_ID_KHR);
  const auto* modes = FindInChain<VkSwapchainPresentModeInfoEXT>(
      info.pNext, VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_MODE_INFO_EXT);
  const auto* fences = FindInChain<VkSwapchainPresentFenceInfoEXT>(
      info.pNext, VK_STRUCTURE_TYPE_SWAPCHAIN_PRESENT_FENCE_INFO_EXT);
  VkResult worst = VK_SUCCESS;
  for (uint32_t i = 0; i < info.swapchainCount; ++i) {
    Swapchain& swapchain = *swapchains[i];
    if (modes != nullptr) {
      swapchain.SetMode(modes->pPresentModes[i]);
    }
    if (fences != nullptr && fences->pFences[i] != VK_NULL_HANDLE) {
      // What presenting uses of the program's is done with when the copy is.
      const std::lock_guard lock(device.session().progress_mutex());
      AttachFence(device.session(), fences->pFences[i], on.progress(), batch);
    }
    const uint64_t id = ids != nullptr && ids->pPresentIds != nullptr ? ids->pPresentIds[i] : 0;
    const VkResult result = swapchain.presenter().Present(
        {info.pImageIndices[i], on.progress(), batch, swapchain.mode(), id, DamageOf(info, i)});
    if (info.pResults != nullptr) {
      info.pResults[i] = result;
    }
    worst = Worse(worst, result);
  }
  return device.IsLost() ? VK_ERROR_DEVICE_LOST : worst;
}

}  // namespace entry
}  // namespace vesper::client
