// SPDX-License-Identifier: Apache-2.0
//
// Draws frames, two under way at a time. Each of the two slots has what the host touches while the
// device may work on the other: a command buffer, a uniform buffer that stays mapped and is written
// for every frame, and a readback buffer that stays mapped and is read when the frame is done. A
// timeline semaphore counts finished frames; images are shared, since the queue runs the frames one
// after the other.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "examples/common/resources.h"
#include "examples/turntable/grade_pass.h"
#include "examples/turntable/object_pass.h"
#include "examples/turntable/scene.h"

namespace vesper::examples {

class Renderer {
 public:
  static constexpr uint32_t kSlots = 2;

  // The device must outlive the renderer.
  Renderer(const Device& device, VkExtent2D extent);
  ~Renderer();
  Renderer(const Renderer&) = delete;
  Renderer& operator=(const Renderer&) = delete;

  // Starts drawing a frame. At most kSlots frames may be started and not yet finished.
  void Start(uint32_t frame);

  // Waits for the frame that was started first and is not finished yet, and finishes it. Returns
  // its pixels, 4 bytes each (red, green, blue, 255), top row first; they stay as they are until
  // Start() is called again.
  std::span<const std::byte> Finish();

 private:
  struct Slot {
    Owned<VkCommandPool> pool;
    VkCommandBuffer commands;
    Buffer readback;
  };

  void Record(const Slot& slot, uint32_t frame, uint32_t slot_index) const;

  const Device& device_;
  VkExtent2D extent_;
  Scene scene_;
  std::vector<Buffer> uniforms_;  // one for each slot
  ObjectPass object_pass_;
  GradePass grade_pass_;
  std::vector<Slot> slots_;
  Owned<VkSemaphore> finished_frames_;
  uint64_t started_ = 0;
  uint64_t finished_ = 0;
};

}  // namespace vesper::examples
