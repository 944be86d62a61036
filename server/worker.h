// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_SERVER_WORKER_H_
#define VESPER_SERVER_WORKER_H_

#include <memory>
#include <optional>
#include <string>

#include "transport/connection.h"
#include "transport/spin.h"

namespace vesper::server {

/// Who reads memory of the device to find out what changed there.
enum class MemoryReading {
  kAuto,  ///< The GPU where the CPU would be slow: host-visible memory that is not cached.
  kGpu,   ///< The GPU, wherever it can.
  kCpu,   ///< The CPU.
};

/// Threads of a session that compile and replay, unless --threads says otherwise. One is left for
/// others' replays however much is compiled, so there are two at least.
unsigned DefaultThreads();

struct WorkerOptions {
  std::string
      driver_manifest;  ///< Manifest of the driver to use; empty: whatever the loader finds.
  std::string device_selector;  ///< Index, UUID or name of the device to offer; empty: all of them.
  MemoryReading memory_reading = MemoryReading::kAuto;
  bool share_memory = true;       ///< Host-visible memory may be made of the guest's own pages.
  bool use_rings = true;          ///< What is said may pass through memory that both share.
  bool use_progress_page = true;  ///< The guest may look there how far queues have come.
  transport::Spinning spinning = transport::Spinning::kAuto;  ///< Before threads sleep.
  std::optional<unsigned> threads;  ///< Nothing: DefaultThreads(); 0: all is done in the stream.
  /// MiB of what a session uploads that are kept, for it not to send them again; 0: none.
  uint32_t upload_cache_mebibytes = 64;
  /// The folder where what guests upload is kept for later sessions, if they ask; empty: nowhere.
  std::string upload_archive;
  uint32_t upload_archive_mebibytes = 1024;  ///< What all tenants together may take there.
  std::string peer;                          ///< Who the guest is, for logs.
};

/// How a session ended, as the exit status of the process that served it.
enum WorkerStatus : int {
  kGuestLeft = 0,       ///< The guest ended the session in order.
  kConnectionLost = 1,  ///< The connection broke.
  kInvalidGuest = 2,    ///< The guest sent something that no guest may send.
  kNoDriver = 3,        ///< There is no usable driver or device.
  kDriverFailed = 4,    ///< The device was lost, or the driver failed.
};

/// Serves one session on `connection` until it ends, and returns how that came about. Runs in a
/// process of its own, which no driver was loaded into before.
int RunWorker(std::unique_ptr<transport::Connection> connection, const WorkerOptions& options);

}  // namespace vesper::server

#endif  // VESPER_SERVER_WORKER_H_
