// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/xcb_library.h"

#include <dlfcn.h>

#include <string>

#include "client_icd/environment.h"

namespace vesper::client {
namespace {

void* Open(const char* name, bool is_needed) {
  void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr && is_needed) {
    const char* why = ::dlerror();
    Say(std::string("expected ") + name + " for a surface of an X window, but " +
        (why == nullptr ? "it was not found" : why) + "; install it");
  }
  return library;
}

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(::dlsym(library, name));
  return *function != nullptr;
}

}  // namespace

std::shared_ptr<const XcbLibrary> XcbLibrary::Load() {
  void* xcb = Open("libxcb.so.1", true);
  if (xcb == nullptr) {
    return nullptr;
  }
  auto x = std::make_shared<XcbLibrary>();
  bool is_whole = true;
#define VESPER_FIND(name) is_whole = Find(xcb, "xcb_" #name, &x->name) && is_whole;
  VESPER_XCB_FUNCTIONS(VESPER_FIND)
#undef VESPER_FIND
  if (void* shm = Open("libxcb-shm.so.0", false)) {
    x->has_shm = Find(shm, "xcb_shm_id", &x->shm_id);
#define VESPER_FIND(name) x->has_shm = Find(shm, "xcb_" #name, &x->name) && x->has_shm;
    VESPER_XCB_SHM_FUNCTIONS(VESPER_FIND)
#undef VESPER_FIND
  }
  if (void* present = Open("libxcb-present.so.0", false)) {
    x->has_present = Find(present, "xcb_present_id", &x->present_id);
#define VESPER_FIND(name) x->has_present = Find(present, "xcb_" #name, &x->name) && x->has_present;
    VESPER_XCB_PRESENT_FUNCTIONS(VESPER_FIND)
#undef VESPER_FIND
  }
  return is_whole ? x : nullptr;
}

xcb_connection_t* ConnectionOfDisplay(struct _XDisplay* display) {
  void* library = Open("libX11-xcb.so.1", true);
  xcb_connection_t* (*connection_of)(struct _XDisplay*) = nullptr;
  return library != nullptr && Find(library, "XGetXCBConnection", &connection_of)
             ? connection_of(display)
             : nullptr;
}

}  // namespace vesper::client
