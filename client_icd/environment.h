// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "client_icd/posts.h"
#include "client_icd/pushes.h"
#include "client_icd/wsi/present_options.h"
#include "proto/compression.h"
#include "transport/ring_connection.h"
#include "transport/spin.h"

namespace vesper::client {

enum class UploadCache : uint8_t { kOff, kAuto, kAlways };

/// What the user asked for through the environment. Read once per instance.
///   VESPER_SERVER  where the host's server listens: unix:/path or tcp:HOST:PORT
///   VESPER_TRANSPORT  stream: what is said passes through the socket, also where it could pass
///                  through memory that guest and host share (transport/ring_connection.h)
///   VESPER_SPIN    off: threads that wait sleep at once, and don't look around first for some
///                  microseconds (transport/spin.h)
///   VESPER_MEMORY  how written pages of mapped memory are found: async, compare, fault, signal or
///                  reference (write_tracker.h), or shadow for the best that works. If not set,
///                  that too, but for memory whose pages the host's device can use themselves
///                  (sharing.h): there nothing has to be found
///   VESPER_DOWNLOAD  when the program gets what the device wrote: push (before it learns that the
///                  work is done), lazy (what it rarely reads when it does; downloads.h), auto (the
///                  default: lazy if the server is on another machine) or always (for tests: all of
///                  it when it is read)
///   VESPER_POST  what is posted although the driver may refuse it, in words separated by commas:
///                  resources, pipelines, descriptors, memory (posts.h); off: none of it. All if
///                  not set
///   VESPER_PUSH  what the guest has before the program asks, or keeps up to date while it goes on
///                  asking: addresses, queries, events, budget, timestamps (pushes.h); off: none of
///                  it. All if not set
///   VESPER_BATCH   off: every command is written to the link by itself, at once
///   VESPER_RECORD  whole: what a command buffer records is sent when the recording ends, and not
///                  in parts before
///   VESPER_UPLOAD_CACHE  off, always or auto: what is uploaded once more travels as a hash never,
///                  always, or (the default) if the link is slow (proto/chunks.h)
///   VESPER_PRESENT  what becomes of pictures for windows, in words separated by commas: copy, they
///                  are sent to the window system, which else maps them where it can; jpeg:85, they
///                  come as JPEG of that quality (present_options.h, docs/windows.md)
///   VESPER_UPLOAD_ARCHIVE  on: so it does in later sessions with the same server, if that keeps
///                  uploads on disk (archive_key.h)
///   VESPER_DEBUG   words separated by commas:
///                    sync  every posted command waits until the host has executed it
///                    log   the session's beginning and end on stderr, and what it chose
///   VESPER_COMPRESS  off, lz4, zstd or auto: what passes is compressed never, always with this, or
///                    (the default) if the link is slower than compressing
///   VESPER_CACHE   what the host has answered is remembered: disk (the default: for later
///   sessions,
///                  too), memory (as long as the session lasts) or off
///   VESPER_CACHE_DIR  where on disk; $XDG_CACHE_HOME/vesper or ~/.cache/vesper if not set
///   VESPER_STATS   1: what each session cost, on stderr when it ends; or a file (statistics.h)
struct Environment {
  std::string server;
  std::string memory;
  std::string download;
  bool uses_rings = true;
  size_t ring_bytes = transport::RingMemory::kDefaultBytes;  ///< of each; tests want less
  transport::Spinning spinning = transport::Spinning::kAuto;
  bool shares_memory = true;                      ///< nobody asked for copies
  uint32_t compression = proto::kAllCompression;  ///< algorithms that may be used
  bool always_compress = false;
  uint32_t posts = kPostAll;   ///< a set of PostKind
  uint32_t pushes = kPushAll;  ///< a set of PushKind
  bool batches = true;
  bool records_in_parts = true;
  UploadCache upload_cache = UploadCache::kAuto;
  PresentOptions present;
  bool archives_uploads = false;
  bool debug_sync = false;
  bool debug_log = false;
  std::string stats;
  bool cache = true;
  std::string cache_folder;  ///< empty: remembered in memory
  std::string key_folder;    ///< of this user's keys; empty: there is none

  static Environment Read();
};

/// The endpoint used without VESPER_SERVER: where a server of this machine listens by default.
std::string DefaultServer();

/// One line on stderr, "vesper: …". Only for what the user must know or asked to see.
void Say(const std::string& sentence);

}  // namespace vesper::client
