// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/x_server.h"

#include <cstdlib>
#include <stdexcept>

namespace vesper::tests {
namespace {

struct Free {
  void operator()(void* reply) const { std::free(reply); }
};
template <typename T>
using Reply = std::unique_ptr<T, Free>;

}  // namespace

XServer::XServer(const std::string& screen) {
  const std::string output = folder_.Path("display");
  process_ = ChildProcess::Start({"/usr/bin/Xvfb", "-displayfd", "1", "-screen", "0", screen,
                                  "-nolisten", "tcp", "-noreset", "-dpi", "96"},
                                 {}, output, folder_.Path("errors"));
  const bool is_there = Eventually(
      [&] { return ReadFile(output).find('\n') != std::string::npos || !process_.Running(); },
      std::chrono::seconds(60));
  const std::string number = ReadFile(output);
  if (!is_there || number.find('\n') == std::string::npos) {
    throw std::runtime_error("Xvfb did not start: " + ReadFile(folder_.Path("errors")));
  }
  display_ = ":" + number.substr(0, number.find('\n'));
}

XWindow::XWindow(const std::string& display, uint16_t width, uint16_t height, int16_t x)
    : connection_(xcb_connect(display.c_str(), nullptr)), width_(width), height_(height) {
  if (xcb_connection_has_error(connection_) != 0) {
    xcb_disconnect(connection_);
    throw std::runtime_error("could not connect to the X server " + display);
  }
  const xcb_screen_t* screen = xcb_setup_roots_iterator(xcb_get_setup(connection_)).data;
  visual_ = screen->root_visual;
  id_ = xcb_generate_id(connection_);
  const uint32_t overrides = 1;  // there is no window manager to ask
  Check(xcb_create_window_checked(connection_, XCB_COPY_FROM_PARENT, id_, screen->root, x, 0, width,
                                  height, 0, XCB_WINDOW_CLASS_INPUT_OUTPUT, visual_,
                                  XCB_CW_OVERRIDE_REDIRECT, &overrides),
        "create a window");
  Show(true);
}

XWindow::~XWindow() { xcb_disconnect(connection_); }

void XWindow::Check(xcb_void_cookie_t request, const char* what) {
  const Reply<xcb_generic_error_t> error(xcb_request_check(connection_, request));
  if (error != nullptr || xcb_connection_has_error(connection_) != 0) {
    throw std::runtime_error(std::string("the X server did not ") + what);
  }
}

void XWindow::Resize(uint16_t width, uint16_t height) {
  const uint32_t size[] = {width, height};
  Check(xcb_configure_window_checked(connection_, id_,
                                     XCB_CONFIG_WINDOW_WIDTH | XCB_CONFIG_WINDOW_HEIGHT, size),
        "resize the window");
  width_ = width;
  height_ = height;
}

void XWindow::Show(bool is_shown) {
  Check(is_shown ? xcb_map_window_checked(connection_, id_)
                 : xcb_unmap_window_checked(connection_, id_),
        "map the window");
}

void XWindow::Destroy() {
  Check(xcb_destroy_window_checked(connection_, id_), "destroy the window");
}

std::vector<uint32_t> XWindow::Screenshot() { return Read(0, 0, width_, height_); }

uint32_t XWindow::Pixel(uint32_t x, uint32_t y) {
  return Read(static_cast<uint16_t>(x), static_cast<uint16_t>(y), 1, 1).front();
}

std::vector<uint32_t> XWindow::Read(uint16_t x, uint16_t y, uint16_t width, uint16_t height) {
  const Reply<xcb_get_image_reply_t> image(xcb_get_image_reply(
      connection_,
      xcb_get_image(connection_, XCB_IMAGE_FORMAT_Z_PIXMAP, id_, static_cast<int16_t>(x),
                    static_cast<int16_t>(y), width, height, ~0u),
      nullptr));
  if (image == nullptr) {
    throw std::runtime_error("the X server gave no picture of the window");
  }
  const auto* pixels = reinterpret_cast<const uint32_t*>(xcb_get_image_data(image.get()));
  std::vector<uint32_t> picture(pixels, pixels + size_t{width} * height);
  for (uint32_t& pixel : picture) {
    pixel &= 0xff'ffff;
  }
  return picture;
}

uint32_t XWindow::TakeDrawings() {
  if (damage_ == 0) {
    const xcb_query_extension_reply_t* extension =
        xcb_get_extension_data(connection_, &xcb_damage_id);
    if (extension == nullptr || extension->present == 0) {
      throw std::runtime_error("the X server has no DAMAGE");
    }
    damage_event_ = extension->first_event;
    const Reply<xcb_damage_query_version_reply_t> version(xcb_damage_query_version_reply(
        connection_, xcb_damage_query_version(connection_, 1, 1), nullptr));
    damage_ = xcb_generate_id(connection_);
    Check(xcb_damage_create_checked(connection_, damage_, id_,
                                    XCB_DAMAGE_REPORT_LEVEL_RAW_RECTANGLES),
          "watch the window");
  }
  // Events that are due come before the reply.
  const Reply<xcb_get_input_focus_reply_t> reply(
      xcb_get_input_focus_reply(connection_, xcb_get_input_focus(connection_), nullptr));
  uint32_t drawings = 0;
  while (xcb_generic_event_t* event = xcb_poll_for_event(connection_)) {
    drawings += (event->response_type & 0x7f) == damage_event_ + XCB_DAMAGE_NOTIFY ? 1 : 0;
    std::free(event);
  }
  return drawings;
}

}  // namespace vesper::tests
