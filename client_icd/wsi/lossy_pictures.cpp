// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/lossy_pictures.h"

#include <unistd.h>

#include <string>

#include "client_icd/environment.h"

namespace vesper::client {

bool LossyPictures::IsReady() {
  const std::lock_guard lock(mutex_);
  if (!has_looked_) {
    has_looked_ = true;
    if (!options_.complaint.empty()) {
      Say(options_.complaint);
    }
    std::string why;
    if (options_.jpeg_quality != 0 && (library_ = JpegLibrary::Load(&why)) == nullptr) {
      Say(std::string("expected ") + JpegLibrary::kName +
          " for VESPER_PRESENT=jpeg:" + std::to_string(options_.jpeg_quality) + ", but " + why +
          "; pictures come without loss until it is installed");
    }
  }
  return library_ != nullptr;
}

void LossyPictures::Add(proto::ObjectId memory, const Pictures& pictures, std::byte* begin) {
  const std::lock_guard lock(mutex_);
  process_ = ::getpid();
  targets_[memory] = {pictures, begin};
}

void LossyPictures::Remove(proto::ObjectId memory) {
  if (::getpid() != process_) {
    return;  // nothing was added; or it was in the parent, whose reader may have had the mutex
  }
  const std::lock_guard lock(mutex_);
  targets_.erase(memory);
}

bool LossyPictures::Apply(const proto::Args_vesperPushPicture& push) {
  const std::lock_guard lock(mutex_);
  if (library_ == nullptr) {
    return false;
  }
  const auto found = targets_.find(push.memory);
  if (found == targets_.end()) {
    return true;  // freed meanwhile
  }
  const auto& [pictures, begin] = found->second;
  if (push.picture >= pictures.count || push.x > pictures.extent.width ||
      push.width > pictures.extent.width - push.x || push.y > pictures.extent.height ||
      push.height > pictures.extent.height - push.y) {
    return false;
  }
  const uint64_t offset =
      push.picture * pictures.stride + push.y * pictures.row_bytes() + uint64_t{push.x} * 4;
  const bool is_red_first =
      pictures.format == VK_FORMAT_R8G8B8A8_UNORM || pictures.format == VK_FORMAT_R8G8B8A8_SRGB;
  return library_->Decode(
      {static_cast<const std::byte*>(push.pData), push.dataSize},
      {begin + offset, pictures.row_bytes(), push.width, push.height, is_red_first});
}

}  // namespace vesper::client
