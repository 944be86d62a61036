// SPDX-License-Identifier: Apache-2.0
#include "client_icd/shadow.h"

#include <sys/mman.h>

#include "client_icd/session.h"
#include "proto/limits.h"
#include "proto/memory_patch.h"
#include "proto/records_gen.h"

namespace vesper::client {
namespace {

/// Zeroed pages that cost nothing until they are written.
std::byte* MapPages(uint64_t size) {
  void* pages = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return pages == MAP_FAILED ? nullptr : static_cast<std::byte*>(pages);
}

/// Above this many queued bytes a collection writes before it goes on.
constexpr size_t kMaxQueuedBytes = 32u << 20;

}  // namespace

Shadow::Shadow(proto::ObjectId memory, uint64_t size) : memory_(memory), size_(size) {
  live_ = MapPages(size);
  twin_ = live_ == nullptr ? nullptr : MapPages(size);
  if (twin_ == nullptr && live_ != nullptr) {
    ::munmap(live_, size);
    live_ = nullptr;
  }
}

Shadow::~Shadow() {
  if (live_ != nullptr) {
    ::munmap(live_, size_);
    ::munmap(twin_, size_);
  }
}

void Shadow::Collect(Session& session, VkDevice device, uint64_t offset, uint64_t size) {
  const uint64_t end = offset + size;
  while (offset < end && !session.IsLost()) {
    {
      const std::lock_guard lock(mutex_);
      patch_.Clear();
      offset = proto::MakePatch(live_, twin_, offset, end - offset, proto::kMaxPatchBytes, patch_);
      if (patch_.size() != 0) {
        const proto::Args_vesperWriteMemory args{device, memory_, patch_.size(),
                                                 patch_.Bytes().data()};
        session.Enqueue(proto::command_number::vesperWriteMemory, &args);
      }
    }
    // Outside the lock: the reader must be able to apply pushes while this waits for the link.
    if (session.Queued() > kMaxQueuedBytes) {
      session.Flush();
    }
  }
}

bool Shadow::Apply(std::span<const std::byte> patch) {
  if (!proto::PatchFits(patch, size_)) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  proto::ApplyPatch(patch, live_, twin_);
  return true;
}

}  // namespace vesper::client
