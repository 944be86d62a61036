// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "client_icd/object.h"
#include "client_icd/shadow.h"

namespace vesper::client {

/// A VkDeviceMemory. The shadow is made at the first mapping and kept until the memory is freed:
/// both sides go on from what they last agreed on when it is mapped again.
struct DeviceMemory {
  uint64_t size = 0;
  bool is_host_visible = false;
  bool is_coherent = false;
  bool is_mapped = false;
  std::shared_ptr<Shadow> shadow;
  Allocator allocator;
};

}  // namespace vesper::client
