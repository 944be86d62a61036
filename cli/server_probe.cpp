// SPDX-License-Identifier: Apache-2.0
#include "cli/server_probe.h"

#include <unistd.h>
#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "client_icd/shadow_arena.h"
#include "proto/arena.h"
#include "proto/frame.h"
#include "proto/setup.h"
#include "proto/snapshot.h"
#include "transport/ring_connection.h"
#include "transport/stream.h"

namespace vesper::cli {
namespace {

using Clock = std::chrono::steady_clock;

// Shuts a connection down if it is still in use after a while. A server that accepts and then says
// nothing would otherwise hold the reader for ever.
class Watchdog {
 public:
  Watchdog(transport::Connection& connection, std::chrono::milliseconds limit)
      : thread_([this, &connection, limit] {
          std::unique_lock lock(mutex_);
          if (!changed_.wait_for(lock, limit, [this] { return is_done_; })) {
            has_fired_ = true;
            connection.Shutdown();
          }
        }) {}

  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      is_done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  bool HasFired() const {
    const std::lock_guard lock(mutex_);
    return has_fired_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool is_done_ = false;
  bool has_fired_ = false;
  std::thread thread_;
};

// Returns why no rings could be offered, if so.
std::string SendHello(transport::Connection& connection) {
  proto::Hello hello;
  hello.page_size = static_cast<uint32_t>(::sysconf(_SC_PAGESIZE));
  hello.pid = static_cast<uint64_t>(::getpid());
  hello.probe = true;
  hello.api_version = VK_API_VERSION_1_4;
  hello.application_name = "vesper doctor";
  hello.program = "vesper";
  hello.command_hashes = proto::CommandHashes();
  hello.struct_hashes = proto::StructHashes();
  // Offered as a program's driver does, to hear what the server thinks of it.
  const client::ShadowArena shadows;
  hello.offers_memory = shadows.HasFile() && connection.PassesDescriptors();
  std::vector<int> files;
  if (hello.offers_memory) {
    files.push_back(shadows.file());
  }
  std::string why_no_rings;
  const auto rings =
      transport::RingMemory::Create(transport::RingMemory::kDefaultBytes, &why_no_rings);
  if (rings != nullptr && connection.PassesDescriptors()) {
    hello.ring_bytes = rings->ring_bytes();
    files.push_back(rings->file());
  }
  proto::Buffer buffer;
  proto::EncodeHello(hello, buffer);
  const std::span<const std::byte> parts[] = {buffer.Bytes()};
  // A server that refused at once may not take this any more, but its reason can still be read.
  (void)connection.WriteWithDescriptors(parts, files);
  return why_no_rings;
}

std::string VersionText(uint32_t version) {
  return std::to_string(VK_API_VERSION_MAJOR(version)) + "." +
         std::to_string(VK_API_VERSION_MINOR(version)) + "." +
         std::to_string(VK_API_VERSION_PATCH(version));
}

// Text of a fixed-size array, which a hostile server need not have ended with a zero.
template <size_t kSize>
std::string TextOf(const char (&text)[kSize]) {
  std::string result(text, std::find(text, text + kSize, '\0'));
  std::replace_if(
      result.begin(), result.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  return result;
}

std::string DriverOf(const VkPhysicalDeviceProperties2& properties) {
  for (auto* next = static_cast<const VkBaseInStructure*>(properties.pNext); next != nullptr;
       next = next->pNext) {
    if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES) {
      const auto* driver = reinterpret_cast<const VkPhysicalDeviceDriverProperties*>(next);
      return TextOf(driver->driverName) + " " + TextOf(driver->driverInfo);
    }
    if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES) {
      const auto* driver = reinterpret_cast<const VkPhysicalDeviceVulkan12Properties*>(next);
      return TextOf(driver->driverName) + " " + TextOf(driver->driverInfo);
    }
  }
  return "unnamed driver";
}

bool ReadWelcome(const proto::Frame& frame, ServerAnswer* answer, std::string* error) {
  proto::Welcome welcome;
  if (!proto::DecodeWelcome(frame.payload, &welcome, error)) {
    return false;
  }
  proto::Arena arena;
  proto::Snapshot snapshot;
  if (!proto::DecodeSnapshot(welcome.snapshot, arena, &snapshot, error)) {
    return false;
  }
  answer->version = welcome.server_version;
  answer->protocol_version = welcome.protocol_version;
  answer->why_no_rings = welcome.why_no_rings;
  answer->why_not_shared = welcome.why_not_shared;
  const std::vector<uint32_t> own = proto::CommandHashes();
  answer->own_commands = static_cast<size_t>(
      std::count_if(own.begin(), own.end(), [](uint32_t hash) { return hash != 0; }));
  answer->common_commands =
      static_cast<size_t>(std::count(welcome.commands.begin(), welcome.commands.end(), true));
  for (const proto::PhysicalDeviceSnapshot& device : snapshot.devices) {
    if (device.properties == nullptr) {
      *error = "the server describes a device without saying what it is";
      return false;
    }
    const VkPhysicalDeviceProperties& properties = device.properties->properties;
    answer->devices.push_back({TextOf(properties.deviceName), VersionText(properties.apiVersion),
                               DriverOf(*device.properties)});
  }
  return true;
}

bool ReadAnswer(transport::Connection& connection, ServerAnswer* answer, std::string* error) {
  proto::FrameSplitter splitter(proto::kMaxSetupBytes);
  while (true) {
    if (const std::optional<proto::Frame> frame = splitter.Next()) {
      switch (frame->type) {
        case proto::FrameType::kWelcome:
          return ReadWelcome(*frame, answer, error);
        case proto::FrameType::kRefusal:
          *error = "the server refused: " + proto::DecodeRefusal(frame->payload);
          return false;
        default:
          *error = "the server answered with something that is not session set-up";
          return false;
      }
    }
    const std::span<std::byte> space = splitter.BeginReceive();
    if (splitter.Failed() || space.empty()) {
      *error = "what answered does not speak Vesper's protocol: " + splitter.Error();
      return false;
    }
    const size_t count = connection.ReadSome(space);
    if (count == 0) {
      *error = connection.Error().empty()
                   ? "the server closed the connection without a word; its log may say why"
                   : connection.Error();
      return false;
    }
    splitter.EndReceive(count);
  }
}

}  // namespace

std::optional<ServerAnswer> ProbeServer(const transport::Endpoint& endpoint,
                                        std::chrono::milliseconds limit, std::string* error) {
  const auto micros = [](Clock::duration time) {
    return std::chrono::duration_cast<std::chrono::microseconds>(time);
  };
  ServerAnswer answer;
  const Clock::time_point start = Clock::now();
  const auto connection = transport::Connect(endpoint, limit, error);
  if (!connection) {
    return std::nullopt;
  }
  answer.connect_time = micros(Clock::now() - start);
  answer.peer = connection->Peer();
  answer.is_local = connection->IsLocal();
  const Watchdog watchdog(*connection, limit);
  const std::string why_not_offered = SendHello(*connection);
  if (!ReadAnswer(*connection, &answer, error)) {
    if (watchdog.HasFired()) {
      *error = "the server accepted the connection but did not answer within " +
               std::to_string(limit.count() / 1000) + " s";
    }
    return std::nullopt;
  }
  if (!why_not_offered.empty()) {
    answer.why_no_rings = why_not_offered;
  }
  answer.answer_time = micros(Clock::now() - start) - answer.connect_time;
  return answer;
}

}  // namespace vesper::cli
