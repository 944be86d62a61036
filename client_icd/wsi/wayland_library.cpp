// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/wayland_library.h"

#include <dlfcn.h>

#include <string>

#include "client_icd/environment.h"

namespace vesper::client {
namespace {

template <typename Symbol>
bool Find(void* library, const char* name, Symbol* symbol) {
  *symbol = reinterpret_cast<Symbol>(::dlsym(library, name));
  return *symbol != nullptr;
}

}  // namespace

std::shared_ptr<const WaylandLibrary> WaylandLibrary::Load() {
  void* library = ::dlopen("libwayland-client.so.0", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = ::dlerror();
    Say(std::string("expected libwayland-client.so.0 for a surface of a Wayland window, but ") +
        (why == nullptr ? "it was not found" : why) + "; install it");
    return nullptr;
  }
  auto wl = std::make_shared<WaylandLibrary>();
  bool is_whole = true;
#define VESPER_FIND(name) is_whole = Find(library, "wl_" #name, &wl->name) && is_whole;
  VESPER_WAYLAND_FUNCTIONS(VESPER_FIND)
  VESPER_FIND(registry_interface)
  VESPER_FIND(shm_interface)
  VESPER_FIND(shm_pool_interface)
  VESPER_FIND(buffer_interface)
#undef VESPER_FIND
  if (!is_whole) {
    Say("expected libwayland-client 1.20 or newer for a surface of a Wayland window; install it");
  }
  return is_whole ? wl : nullptr;
}

}  // namespace vesper::client
