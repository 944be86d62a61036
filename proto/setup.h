// SPDX-License-Identifier: Apache-2.0
//
// Session set-up: one round trip. The guest says who it is and what it can encode; the host answers
// with what both can, and a snapshot of its devices (proto/snapshot.h), or refuses with a sentence.
//
// Each build tells the hash of every command and struct it knows. Only what has the same number and
// hash on both sides is used, so builds of different age agree on what they share.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "proto/buffer.h"
#include "proto/encoder.h"

namespace vesper::proto {

/// Changes only when set-up, frames or the encoding itself change in a way that hashes don't show.
inline constexpr uint32_t kProtocolVersion = 5;
inline constexpr uint64_t kProtocolMagic = 0x0000'7265'7073'6576;  // "vesper"

struct Hello {
  uint32_t protocol_version = kProtocolVersion;
  uint32_t page_size = 4096;
  uint64_t pid = 0;
  /// The program only asks who is there (`vesper doctor`): no device objects will be made.
  bool probe = false;
  /// The host compares all memory that is mapped at every progress, whatever the work can have
  /// written: the reference that faster ways are tested against.
  bool compare_all_memory = false;
  /// The algorithms (compression.h) with which frames may be compressed, both ways.
  uint32_t compression = 0;
  /// Frames are compressed however fast the link is.
  bool always_compress = false;
  /// The guest's file of shadows came along (Connection::TakeDescriptors, the first of them):
  /// host-visible memory may be made of its pages.
  bool offers_memory = false;
  /// A file for two rings of so many bytes each came along (transport/ring_connection.h; the next
  /// of the descriptors). 0: none.
  uint64_t ring_bytes = 0;
  /// What chunks (chunks.h) are archived under for later sessions: sizeof(HashKey) bytes, or none
  /// if they are not to be.
  std::vector<std::byte> archive_key;
  uint32_t application_version = 0;
  uint32_t engine_version = 0;
  uint32_t api_version = 0;
  std::string application_name;
  std::string engine_name;
  std::string program;
  /// Index: wire number. 0 where the number is not known.
  std::vector<uint32_t> command_hashes;
  std::vector<uint32_t> struct_hashes;
  std::vector<std::string> extensions;
};

struct Welcome {
  uint32_t protocol_version = kProtocolVersion;
  uint32_t page_size = 4096;
  /// Those of the guest's algorithms that the host knows, too.
  uint32_t compression = 0;
  /// MiB of chunks (chunks.h) that the host keeps for this session.
  uint32_t chunk_mebibytes = 0;
  /// Chunks are archived, and named by hashes with the guest's key.
  bool archives = false;
  std::string server_version;
  /// Why memory is not shared, in a sentence; empty if it is, as far as devices allow.
  std::string why_not_shared;
  /// Why what follows passes through the socket, in a sentence; empty if it passes through rings.
  std::string why_no_rings;
  /// Index: wire number.
  std::vector<bool> commands;
  std::vector<bool> structs;
  /// An encoded Snapshot.
  std::vector<std::byte> snapshot;
};

/// This build's hashes, indexed by wire number.
std::vector<uint32_t> CommandHashes();
std::vector<uint32_t> StructHashes();
/// Which numbers have the same hash on both sides.
std::vector<bool> Intersect(const std::vector<uint32_t>& ours, const std::vector<uint32_t>& theirs);

/// Whole frames, ready to send.
void EncodeHello(const Hello& hello, Buffer& buffer);
void EncodeWelcome(const Welcome& welcome, Buffer& buffer);
/// `sentence` tells the user what was expected, what came, and what to do.
void EncodeRefusal(const std::string& sentence, Buffer& buffer);

/// Payloads. False (and one sentence in `error`) if malformed or of another protocol version.
[[nodiscard]] bool DecodeHello(std::span<const std::byte> payload, Hello* hello,
                               std::string* error);
[[nodiscard]] bool DecodeWelcome(std::span<const std::byte> payload, Welcome* welcome,
                                 std::string* error);
std::string DecodeRefusal(std::span<const std::byte> payload);

}  // namespace vesper::proto
