// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "client_icd/wsi/native_window.h"

namespace vesper::client {

/// A window that nobody sees (VK_EXT_headless_surface): presented images never leave the host.
std::unique_ptr<NativeWindow> MakeHeadlessWindow();

}  // namespace vesper::client
