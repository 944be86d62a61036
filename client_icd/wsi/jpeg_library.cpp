// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/jpeg_library.h"

#include <dlfcn.h>
#include <turbojpeg.h>

#include <utility>

namespace vesper::client {
namespace {

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(::dlsym(library, name));
  return *function != nullptr;
}

}  // namespace

/// Never closed.
struct JpegLibrary::Functions {
  decltype(&::tjInitDecompress) init_decompress = nullptr;
  decltype(&::tjDecompressHeader3) decompress_header = nullptr;
  decltype(&::tjDecompress2) decompress = nullptr;
  decltype(&::tjDestroy) destroy = nullptr;
};

JpegLibrary::JpegLibrary(std::shared_ptr<const Functions> functions)
    : functions_(std::move(functions)) {}

std::shared_ptr<const JpegLibrary> JpegLibrary::Load(std::string* why, const char* name) {
  void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* error = ::dlerror();
    *why = error == nullptr ? std::string(name) + " was not found" : error;
    return nullptr;
  }
  auto functions = std::make_shared<Functions>();
  if (!Find(library, "tjInitDecompress", &functions->init_decompress) ||
      !Find(library, "tjDecompressHeader3", &functions->decompress_header) ||
      !Find(library, "tjDecompress2", &functions->decompress) ||
      !Find(library, "tjDestroy", &functions->destroy)) {
    *why = std::string(name) + " lacks a function";
    return nullptr;
  }
  return std::shared_ptr<const JpegLibrary>(new JpegLibrary(std::move(functions)));
}

bool JpegLibrary::Decode(std::span<const std::byte> jpeg, const JpegTarget& target) const {
  const std::unique_ptr<void, decltype(&::tjDestroy)> decoder(functions_->init_decompress(),
                                                              functions_->destroy);
  const auto* bytes = reinterpret_cast<const unsigned char*>(jpeg.data());
  const auto size = static_cast<unsigned long>(jpeg.size());
  int width = 0;
  int height = 0;
  int sampling = 0;
  int color_space = 0;
  if (decoder == nullptr ||
      functions_->decompress_header(decoder.get(), bytes, size, &width, &height, &sampling,
                                    &color_space) != 0 ||
      width != static_cast<int>(target.width) || height != static_cast<int>(target.height)) {
    return false;
  }
  // A progressive picture of few bytes may have very many scans, each of which takes its time.
  return functions_->decompress(
             decoder.get(), bytes, size, reinterpret_cast<unsigned char*>(target.begin), width,
             static_cast<int>(target.row_bytes), height,
             target.is_red_first ? TJPF_RGBA : TJPF_BGRA, TJFLAG_LIMITSCANS) == 0;
}

}  // namespace vesper::client
