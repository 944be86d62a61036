// SPDX-License-Identifier: Apache-2.0
//
// Windows of an X server. A picture is put into the window with one request (MIT-SHM, if the server
// can map the file in which the pictures lie) or with as many as its rows need; a question about
// the window's size goes with it. The answer says that the server has read the pixels, for it does
// one thing after the other; that the window is still there; and how large it is.
//
// Nothing here waits for an event, which might never come: a reply comes, or the connection fails.
// How often the screen has been refreshed the server says in an event (Present), if that is asked
// for ahead of the question about the size: then it is there when the answer is.
#include "client_icd/wsi/xcb_window.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <utility>

#include "client_icd/wsi/xcb_library.h"

namespace vesper::client {
namespace {

constexpr std::array kBlueFirst = {VK_FORMAT_B8G8R8A8_SRGB, VK_FORMAT_B8G8R8A8_UNORM};
constexpr std::array kRedFirst = {VK_FORMAT_R8G8B8A8_SRGB, VK_FORMAT_R8G8B8A8_UNORM};
/// The largest side that X has.
constexpr uint32_t kMaxSide = 32767;

struct Free {
  void operator()(void* reply) const { std::free(reply); }
};
template <typename T>
using Reply = std::unique_ptr<T, Free>;

/// The depth of a visual, and where it has its colors; null if the screen has no such visual.
const xcb_visualtype_t* FindVisual(const XcbLibrary& x, xcb_connection_t* connection,
                                   xcb_visualid_t id, uint8_t* depth) {
  for (auto screen = x.setup_roots_iterator(x.get_setup(connection)); screen.rem != 0;
       x.screen_next(&screen)) {
    for (auto depths = x.screen_allowed_depths_iterator(screen.data); depths.rem != 0;
         x.depth_next(&depths)) {
      for (auto visuals = x.depth_visuals_iterator(depths.data); visuals.rem != 0;
           x.visualtype_next(&visuals)) {
        if (visuals.data->visual_id == id) {
          *depth = depths.data->depth;
          return visuals.data;
        }
      }
    }
  }
  return nullptr;
}

/// True if pictures of four bytes for each pixel can be put into such windows as they are.
bool TakesPictures(const XcbLibrary& x, xcb_connection_t* connection,
                   const xcb_visualtype_t* visual, uint8_t depth) {
  const xcb_setup_t* setup = x.get_setup(connection);
  if (visual == nullptr || visual->_class != XCB_VISUAL_CLASS_TRUE_COLOR ||
      (depth != 24 && depth != 32) || visual->green_mask != 0xff00 ||
      setup->image_byte_order != XCB_IMAGE_ORDER_LSB_FIRST) {
    return false;
  }
  for (auto format = x.setup_pixmap_formats_iterator(setup); format.rem != 0;
       x.format_next(&format)) {
    if (format.data->depth == depth) {
      return format.data->bits_per_pixel == 32;
    }
  }
  return false;
}

bool IsLocal(const XcbLibrary& x, xcb_connection_t* connection) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  return ::getsockname(x.get_file_descriptor(connection), reinterpret_cast<sockaddr*>(&address),
                       &size) == 0 &&
         address.ss_family == AF_UNIX;
}

class XcbCanvas : public Canvas {
 public:
  XcbCanvas(std::shared_ptr<const XcbLibrary> x, xcb_connection_t* connection, xcb_window_t window,
            uint8_t depth, const Pictures& pictures)
      : x_(std::move(x)),
        connection_(connection),
        window_(window),
        depth_(depth),
        pictures_(pictures),
        gc_(x_->generate_id(connection)) {
    Forget(x_->create_gc_checked(connection_, gc_, window_, 0, nullptr));
    Attach();
    WatchRefreshes();
  }
  ~XcbCanvas() override {
    if (refreshes_ != nullptr) {
      // Once this has been answered no more events come, which would be left to the program.
      const Reply<xcb_generic_error_t> error(x_->request_check(
          connection_, x_->present_select_input_checked(connection_, refreshes_id_, window_, 0)));
      x_->unregister_for_special_event(connection_, refreshes_);
    }
    if (segment_ != 0) {
      Forget(x_->shm_detach_checked(connection_, segment_));
    }
    Forget(x_->free_gc_checked(connection_, gc_));
    x_->flush(connection_);
  }

  VkResult Show(uint32_t index, std::span<const VkRect2D> damage) override {
    Put(index, damage);
    if (refreshes_ != nullptr) {
      Forget(x_->present_notify_msc_checked(connection_, window_, 0, 0, 0, 0));
    }
    const Reply<xcb_get_geometry_reply_t> geometry(
        x_->get_geometry_reply(connection_, x_->get_geometry(connection_, window_), nullptr));
    if (geometry == nullptr) {
      return VK_ERROR_SURFACE_LOST_KHR;
    }
    TakeRefreshes();
    return geometry->width == pictures_.extent.width && geometry->height == pictures_.extent.height
               ? VK_SUCCESS
               : VK_ERROR_OUT_OF_DATE_KHR;
  }

  RefreshRate::Period RefreshPeriod() const override { return refresh_rate_.period(); }

 private:
  /// If the request fails nobody hears of it: neither the program's loop, nor Xlib, which would end
  /// the program.
  void Forget(xcb_void_cookie_t request) { x_->discard_reply(connection_, request.sequence); }

  /// The server maps the pictures, if it is on this machine and they lie where it can name them.
  void Attach() {
    const uint64_t end = pictures_.file_offset + pictures_.stride * pictures_.count;
    if (!x_->has_shm || pictures_.file < 0 || end > UINT32_MAX || !IsLocal(*x_, connection_) ||
        !HasExtension(x_->shm_id)) {
      return;
    }
    const Reply<xcb_shm_query_version_reply_t> version(
        x_->shm_query_version_reply(connection_, x_->shm_query_version(connection_), nullptr));
    if (version == nullptr || version->major_version < 1 ||
        (version->major_version == 1 && version->minor_version < 2)) {
      return;
    }
    const int file = ::fcntl(pictures_.file, F_DUPFD_CLOEXEC, 0);  // which xcb closes
    if (file < 0) {
      return;
    }
    const xcb_shm_seg_t segment = x_->generate_id(connection_);
    const Reply<xcb_generic_error_t> error(x_->request_check(
        connection_, x_->shm_attach_fd_checked(connection_, segment, file, /*read_only=*/1)));
    if (error == nullptr) {
      segment_ = segment;
    }
  }

  /// To use one that the server has not ends the connection.
  bool HasExtension(xcb_extension_t* extension) const {
    const xcb_query_extension_reply_t* data = x_->get_extension_data(connection_, extension);
    return data != nullptr && data->present != 0;
  }

  /// Events about the screen's counter come to a queue of ours.
  void WatchRefreshes() {
    if (!x_->has_present || !HasExtension(x_->present_id)) {
      return;
    }
    const Reply<xcb_present_query_version_reply_t> version(x_->present_query_version_reply(
        connection_, x_->present_query_version(connection_, 1, 0), nullptr));
    if (version == nullptr) {
      return;
    }
    refreshes_id_ = x_->generate_id(connection_);
    refreshes_ = x_->register_for_special_xge(connection_, x_->present_id, refreshes_id_, nullptr);
    if (refreshes_ != nullptr) {
      Forget(x_->present_select_input_checked(connection_, refreshes_id_, window_,
                                              XCB_PRESENT_EVENT_MASK_COMPLETE_NOTIFY));
    }
  }

  void TakeRefreshes() {
    while (refreshes_ != nullptr) {
      const Reply<xcb_generic_event_t> event(x_->poll_for_special_event(connection_, refreshes_));
      if (event == nullptr) {
        return;
      }
      // The only kind that was asked for.
      const auto& done = *reinterpret_cast<const xcb_present_complete_notify_event_t*>(event.get());
      refresh_rate_.Note(std::chrono::microseconds(done.ust), done.msc);
    }
  }

  void Put(uint32_t index, std::span<const VkRect2D> damage) {
    const auto width = static_cast<uint16_t>(pictures_.extent.width);
    const auto height = static_cast<uint16_t>(pictures_.extent.height);
    if (segment_ != 0) {
      // All of it: what other windows have covered meanwhile needs no notice then.
      const uint64_t offset = pictures_.file_offset + index * pictures_.stride;
      Forget(x_->shm_put_image_checked(connection_, window_, gc_, width, height, 0, 0, width,
                                       height, 0, 0, depth_, XCB_IMAGE_FORMAT_Z_PIXMAP, 0, segment_,
                                       static_cast<uint32_t>(offset)));
      return;
    }
    // Whole rows, as they lie in memory.
    const uint32_t bytes = std::max<uint32_t>(x_->get_maximum_request_length(connection_), 4096);
    const uint64_t rows_at_once =
        std::max<uint64_t>((uint64_t{bytes} * 4 - 64) / pictures_.row_bytes(), 1);
    uint64_t first = damage.empty() ? 0 : height;
    uint64_t end = damage.empty() ? height : 0;
    for (const VkRect2D& rectangle : damage) {
      first = std::min<uint64_t>(first, std::max(rectangle.offset.y, 0));
      end = std::max<uint64_t>(
          end, std::min<int64_t>(int64_t{rectangle.offset.y} + rectangle.extent.height, height));
    }
    for (uint64_t row = first; row < end; row += rows_at_once) {
      const uint64_t rows = std::min(rows_at_once, end - row);
      const uint64_t size = rows * pictures_.row_bytes();
      Forget(x_->put_image_checked(
          connection_, XCB_IMAGE_FORMAT_Z_PIXMAP, window_, gc_, width, static_cast<uint16_t>(rows),
          0, static_cast<int16_t>(row), 0, depth_, static_cast<uint32_t>(size),
          reinterpret_cast<const uint8_t*>(pictures_.At(index) + row * pictures_.row_bytes())));
    }
  }

  const std::shared_ptr<const XcbLibrary> x_;
  xcb_connection_t* const connection_;
  const xcb_window_t window_;
  const uint8_t depth_;
  const Pictures pictures_;
  const xcb_gcontext_t gc_;
  xcb_shm_seg_t segment_ = 0;
  xcb_special_event_t* refreshes_ = nullptr;
  uint32_t refreshes_id_ = 0;
  RefreshRate refresh_rate_;
};

class XcbWindow : public NativeWindow {
 public:
  XcbWindow(std::shared_ptr<const XcbLibrary> x, xcb_connection_t* connection, xcb_window_t window)
      : x_(std::move(x)), connection_(connection), window_(window) {
    const Reply<xcb_get_window_attributes_reply_t> attributes(x_->get_window_attributes_reply(
        connection_, x_->get_window_attributes(connection_, window_), nullptr));
    if (attributes != nullptr) {
      const xcb_visualtype_t* visual = FindVisual(*x_, connection_, attributes->visual, &depth_);
      is_known_ = TakesPictures(*x_, connection_, visual, depth_);
      is_red_first_ = is_known_ && visual->red_mask == 0xff;
    }
  }

  VkResult GetSizes(Sizes* sizes) override {
    const Reply<xcb_get_geometry_reply_t> geometry(
        x_->get_geometry_reply(connection_, x_->get_geometry(connection_, window_), nullptr));
    if (geometry == nullptr || !is_known_) {
      return VK_ERROR_SURFACE_LOST_KHR;
    }
    // An X window is as large as it is: a swapchain of another size is out of date.
    const VkExtent2D size{geometry->width, geometry->height};
    *sizes = {size, size, size};
    return VK_SUCCESS;
  }
  std::span<const VkFormat> formats() const override {
    return is_red_first_ ? std::span<const VkFormat>(kRedFirst) : kBlueFirst;
  }
  VkCompositeAlphaFlagsKHR composite_alpha() const override {
    // A compositor blends windows of 32 bits with the alpha that is in them.
    return depth_ == 32
               ? VK_COMPOSITE_ALPHA_INHERIT_BIT_KHR | VK_COMPOSITE_ALPHA_PRE_MULTIPLIED_BIT_KHR
               : VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR | VK_COMPOSITE_ALPHA_INHERIT_BIT_KHR;
  }
  bool IsSeen() const override { return true; }
  std::unique_ptr<Canvas> Open(const Pictures& pictures) override {
    if (x_->connection_has_error(connection_) != 0 || !is_known_ ||
        pictures.extent.width > kMaxSide || pictures.extent.height > kMaxSide) {
      return nullptr;
    }
    return std::make_unique<XcbCanvas>(x_, connection_, window_, depth_, pictures);
  }

 private:
  const std::shared_ptr<const XcbLibrary> x_;
  xcb_connection_t* const connection_;
  const xcb_window_t window_;
  uint8_t depth_ = 0;
  bool is_known_ = false;  // the window was there, and takes pictures
  bool is_red_first_ = false;
};

}  // namespace

std::unique_ptr<NativeWindow> MakeXcbWindow(xcb_connection_t* connection, xcb_window_t window) {
  auto x = connection == nullptr ? nullptr : XcbLibrary::Load();
  return x == nullptr ? nullptr : std::make_unique<XcbWindow>(std::move(x), connection, window);
}

xcb_connection_t* XcbConnectionOf(Display* display) { return ConnectionOfDisplay(display); }

bool IsVisualShown(xcb_connection_t* connection, xcb_visualid_t visual) {
  const auto x = connection == nullptr ? nullptr : XcbLibrary::Load();
  uint8_t depth = 0;
  if (x == nullptr) {
    return false;
  }
  const xcb_visualtype_t* found = FindVisual(*x, connection, visual, &depth);
  return TakesPictures(*x, connection, found, depth);
}

}  // namespace vesper::client
