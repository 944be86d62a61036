// SPDX-License-Identifier: Apache-2.0
#include "client_icd/environment.h"

#include <sys/auxv.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <utility>

namespace vesper::client {
namespace {

std::string Variable(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool HasWord(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (list.substr(0, comma) == word) {
      return true;
    }
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return false;
}

/// Where answers are remembered; empty if nowhere.
std::string CacheFolder() {
  if (::getauxval(AT_SECURE) != 0) {
    return {};  // the user who starts such a program must not choose what it writes
  }
  for (const auto& [variable, folder] : {std::pair("VESPER_CACHE_DIR", ""),
                                         {"XDG_CACHE_HOME", "/vesper"},
                                         {"HOME", "/.cache/vesper"}}) {
    const std::string value = Variable(variable);
    if (value.starts_with(
            '/')) {  // others are to be ignored, says XDG, and mean little in a driver
      return value + folder;
    }
  }
  return {};
}

}  // namespace

std::string DefaultServer() {
  // Where vesperd listens by default when the same user starts it.
  const std::string runtime_dir = Variable("XDG_RUNTIME_DIR");
  return ::geteuid() == 0 || runtime_dir.empty() ? "unix:/run/vesper/vesper.sock"
                                                 : "unix:" + runtime_dir + "/vesper.sock";
}

Environment Environment::Read() {
  Environment environment;
  environment.server = Variable("VESPER_SERVER");
  if (environment.server.empty()) {
    environment.server = DefaultServer();
  }
  environment.uses_rings = Variable("VESPER_TRANSPORT") != "stream";
  if (Variable("VESPER_SPIN") == "off") {
    environment.spinning = transport::Spinning::kNever;
  }
  environment.memory = Variable("VESPER_MEMORY");
  environment.download = Variable("VESPER_DOWNLOAD");
  environment.shares_memory = environment.memory.empty() && environment.download != "lazy" &&
                              environment.download != "always";
  environment.posts = ReadPostKinds(Variable("VESPER_POST"));
  environment.pushes = ReadPushKinds(Variable("VESPER_PUSH"));
  environment.batches = Variable("VESPER_BATCH") != "off";
  environment.records_in_parts = Variable("VESPER_RECORD") != "whole";
  const std::string upload_cache = Variable("VESPER_UPLOAD_CACHE");
  environment.upload_cache = upload_cache == "off"      ? UploadCache::kOff
                             : upload_cache == "always" ? UploadCache::kAlways
                                                        : UploadCache::kAuto;
  environment.present = ReadPresentOptions(Variable("VESPER_PRESENT"));
  environment.archives_uploads = Variable("VESPER_UPLOAD_ARCHIVE") == "on";
  const std::string debug = Variable("VESPER_DEBUG");
  environment.debug_sync = HasWord(debug, "sync");
  environment.debug_log = HasWord(debug, "log");
  environment.stats = Variable("VESPER_STATS");
  const std::string cache = Variable("VESPER_CACHE");
  environment.cache = cache != "off";
  environment.key_folder = CacheFolder();
  environment.cache_folder = cache == "memory" ? std::string() : environment.key_folder;
  const std::string compress = Variable("VESPER_COMPRESS");
  environment.compression = compress == "off"    ? 0
                            : compress == "lz4"  ? proto::kLz4
                            : compress == "zstd" ? proto::kZstd
                                                 : proto::kAllCompression;
  environment.always_compress = compress == "lz4" || compress == "zstd";
  return environment;
}

void Say(const std::string& sentence) {
  const std::string line = "vesper: " + sentence + "\n";
  // One write, so that lines of several threads don't mix; nobody can help if it fails.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace vesper::client
