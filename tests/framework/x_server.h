// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_X_SERVER_H_
#define VESPER_TESTS_FRAMEWORK_X_SERVER_H_

#include <xcb/damage.h>
#include <xcb/xcb.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/framework/process.h"

namespace vesper::tests {

// An X server of the test's own, whose screen is memory.
class XServer {
 public:
  // Throws std::runtime_error if it can't be started.
  // `screen`: its width, height and depth.
  explicit XServer(const std::string& screen = "1024x768x24");

  const std::string& display() const { return display_; }
  void Kill() { process_.Kill(); }

 private:
  TemporaryFolder folder_;
  ChildProcess process_;
  std::string display_;
};

// A window on a connection of its own. All calls but the destructor
// throw std::runtime_error if the server refuses.
class XWindow {
 public:
  // `x`: from the left end of the screen. What others cover has no contents.
  XWindow(const std::string& display, uint16_t width, uint16_t height, int16_t x = 0);
  ~XWindow();
  XWindow(const XWindow&) = delete;
  XWindow& operator=(const XWindow&) = delete;

  xcb_connection_t* connection() const { return connection_; }
  xcb_window_t id() const { return id_; }
  uint16_t width() const { return width_; }
  uint16_t height() const { return height_; }
  xcb_visualid_t visual() const { return visual_; }

  void Resize(uint16_t width, uint16_t height);
  void Show(bool is_shown);
  void Destroy();

  // What is in the window, row by row: 0xRRGGBB.
  std::vector<uint32_t> Screenshot();
  uint32_t Pixel(uint32_t x, uint32_t y);
  // How often something was drawn into the window since the last call, or since the first.
  uint32_t TakeDrawings();

 private:
  std::vector<uint32_t> Read(uint16_t x, uint16_t y, uint16_t width, uint16_t height);
  void Check(xcb_void_cookie_t request, const char* what);

  xcb_connection_t* connection_ = nullptr;
  xcb_window_t id_ = 0;
  xcb_visualid_t visual_ = 0;
  xcb_damage_damage_t damage_ = 0;
  uint8_t damage_event_ = 0;
  uint16_t width_;
  uint16_t height_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_X_SERVER_H_
