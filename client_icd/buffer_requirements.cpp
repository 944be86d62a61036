// SPDX-License-Identifier: Apache-2.0
#include "client_icd/buffer_requirements.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "client_icd/answers.h"
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/physical_device.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

/// Multiples of the alignment; false for sizes near the end of all numbers.
bool RoundUp(uint64_t size, uint64_t alignment, uint64_t* rounded) {
  if (size > UINT64_MAX - alignment) {
    return false;
  }
  *rounded = (size + alignment - 1) & ~(alignment - 1);
  return true;
}

bool HasGuarantee(PhysicalDevice& device) {
  return device.snapshot().properties->properties.apiVersion >= VK_API_VERSION_1_3 ||
         device.Offers(VK_KHR_MAINTENANCE_4_EXTENSION_NAME);
}

/// The facts are kept as an answer to a question that nobody can ask.
proto::Hash128 KeyOfFacts(const proto::Hash128& scope, const proto::Hash128& without_size) {
  const proto::Hash128 parts[] = {scope, without_size, {0x73746361'46667542, 0}};  // "BufFacts"
  return proto::HashOf(std::as_bytes(std::span(parts)));
}

BufferFacts FindFacts(Answers& answers, const proto::Hash128& key) {
  BufferFacts facts;
  const AnswerBytes bytes = answers.Find(key);
  if (bytes != nullptr && bytes->size() == sizeof(facts)) {
    std::memcpy(&facts, bytes->data(), sizeof(facts));
    if (!std::has_single_bit(facts.alignment) || facts.state > BufferFacts::kIsAskedAlways) {
      facts = {};
    }
  }
  return facts;
}

}  // namespace

void BufferFacts::Learn(uint64_t size, const VkMemoryRequirements& answer,
                        std::optional<bool> asks_for_own) {
  if (answer.alignment == 0 || state == kIsAskedAlways) {
    return;  // no answer: the buffer could not be made
  }
  uint64_t most = 0;
  const bool is_kept = std::has_single_bit(answer.alignment) &&
                       RoundUp(size, answer.alignment, &most) && answer.size >= size &&
                       answer.size <= most;
  const bool is_same =
      state == kNothing || (alignment == answer.alignment && memory_types == answer.memoryTypeBits);
  if (!is_kept || !is_same) {
    *this = {1, 0, kIsAskedAlways, 0};
    return;
  }
  alignment = answer.alignment;
  memory_types = answer.memoryTypeBits;
  state = std::max<uint32_t>(state, kKeepsPromises);
  // Half the alignment would have given less.
  const uint64_t rest = size % alignment;
  if (rest != 0 && rest <= alignment / 2 && answer.size == most) {
    state = kRoundsUp;
  }
  if (asks_for_own == false) {
    not_dedicated = std::max(not_dedicated, size);
  }
}

std::optional<VkMemoryRequirements> BufferFacts::Requirements(uint64_t size, bool with_own) const {
  uint64_t rounded = 0;
  if (state == kNothing || state == kIsAskedAlways || !RoundUp(size, alignment, &rounded) ||
      (rounded != size && state != kRoundsUp) || (with_own && size > not_dedicated)) {
    return std::nullopt;
  }
  return VkMemoryRequirements{rounded, alignment, memory_types};
}

BufferCreation NoteCreation(Device& device, const VkBufferCreateInfo& create_info) {
  BufferCreation creation;
  creation.size = create_info.size;
  VkBufferCreateInfo any_size = create_info;
  any_size.size = 0;
  const std::optional<proto::Hash128> without_size =
      HashOfCreation(device, proto::record_index::VkBufferCreateInfo, &any_size);
  if (!without_size) {
    return creation;
  }
  const uint64_t parts[] = {without_size->low, without_size->high, create_info.size};
  creation.with_size = proto::HashOf(std::as_bytes(std::span(parts)));
  // Anything unusual may have needs of its own.
  const auto* next = static_cast<const VkBaseInStructure*>(create_info.pNext);
  const bool is_usual =
      create_info.flags == 0 &&
      (next == nullptr || (next->sType == VK_STRUCTURE_TYPE_BUFFER_USAGE_FLAGS_2_CREATE_INFO &&
                           next->pNext == nullptr));
  if (is_usual && HasGuarantee(device.physical_device())) {
    creation.without_size = without_size;
  }
  return creation;
}

namespace entry {

VKAPI_ATTR void VKAPI_CALL
vkGetBufferMemoryRequirements2(VkDevice device, const VkBufferMemoryRequirementsInfo2* pInfo,
                               VkMemoryRequirements2* pMemoryRequirements) {
  Device& owner = Device::From(device);
  proto::Args_vkGetBufferMemoryRequirements2 args{device, pInfo, pMemoryRequirements};
  constexpr uint16_t kNumber = proto::command_number::vkGetBufferMemoryRequirements2;
  const BufferCreation creation = CreationOf(owner, pInfo->buffer);
  auto* next = static_cast<VkBaseOutStructure*>(pMemoryRequirements->pNext);
  VkMemoryDedicatedRequirements* own = nullptr;
  if (next != nullptr && next->sType == VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS) {
    own = reinterpret_cast<VkMemoryDedicatedRequirements*>(next);
    next = next->pNext;
  }
  Answers* answers = owner.session().answers();
  if (answers == nullptr || !owner.answer_scope() || !creation.without_size || next != nullptr) {
    AskAbout(owner, kNumber, &args, creation.with_size);
    return;
  }
  const proto::Hash128 key = KeyOfFacts(*owner.answer_scope(), *creation.without_size);
  BufferFacts facts = FindFacts(*answers, key);
  const auto known = facts.Requirements(creation.size, own != nullptr);
  if (known && !owner.IsLost()) {
    pMemoryRequirements->memoryRequirements = *known;
    if (own != nullptr) {
      own->prefersDedicatedAllocation = own->requiresDedicatedAllocation = VK_FALSE;
    }
    owner.session().statistics().NoteAnswer(kNumber);
    return;
  }
  if (!AskAbout(owner, kNumber, &args, creation.with_size)) {
    return;
  }
  const BufferFacts before = facts;
  facts.Learn(creation.size, pMemoryRequirements->memoryRequirements,
              own == nullptr ? std::optional<bool>()
                             : own->prefersDedicatedAllocation || own->requiresDedicatedAllocation);
  if (std::memcmp(&before, &facts, sizeof(facts)) != 0) {
    answers->Remember(key, std::as_bytes(std::span(&facts, 1)));
  }
}

}  // namespace entry
}  // namespace vesper::client
