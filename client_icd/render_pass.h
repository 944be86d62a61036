// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "client_icd/object.h"
#include "proto/hash.h"

namespace vesper::client {

/// What the guest remembers of a VkRenderPass: which attachments its subpasses use, which decides
/// what counts in a pipeline made for it.
struct RenderPass {
  struct Subpass {
    bool uses_color = false;
    bool uses_depth_stencil = false;
  };
  std::vector<Subpass> subpasses;
  std::optional<proto::Hash128> creation;
  Allocator allocator;
};

}  // namespace vesper::client
