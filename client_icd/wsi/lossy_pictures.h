// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "client_icd/wsi/jpeg_library.h"
#include "client_icd/wsi/native_window.h"
#include "client_icd/wsi/present_options.h"
#include "proto/object_id.h"
#include "proto/records_gen.h"

namespace vesper::client {

/// Pictures of swapchains that the host sends as JPEG, because the user asked for that
/// (VESPER_PRESENT=jpeg:85): for no other memory is it ever asked to. Thread-safe.
class LossyPictures {
 public:
  explicit LossyPictures(const PresentOptions& options) : options_(options) {}

  /// True if the user asks for JPEG and the library is there. What is wrong with that is said on
  /// stderr, the first time.
  bool IsReady();
  /// The host may send these, which begin at `begin`, until they are removed.
  void Add(proto::ObjectId memory, const Pictures& pictures, std::byte* begin);
  /// Nobody writes there any more.
  void Remove(proto::ObjectId memory);

  /// Unpacks what the host has pushed. False if it is malformed, or was not asked for.
  bool Apply(const proto::Args_vesperPushPicture& push);

 private:
  struct Target {
    Pictures pictures;
    std::byte* begin;
  };

  const PresentOptions& options_;
  std::mutex mutex_;
  bool has_looked_ = false;
  std::atomic<pid_t> process_ = 0;  // that has targets
  std::shared_ptr<const JpegLibrary> library_;
  std::map<proto::ObjectId, Target> targets_;
};

}  // namespace vesper::client
