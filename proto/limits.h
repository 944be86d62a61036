// SPDX-License-Identifier: Apache-2.0
//
// Every bound that the wire imposes, in one place. They stop one side from making the other
// allocate or compute without end; each is far above what a well-behaved peer needs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vesper::proto {

/// Largest payload of one frame. The largest single command is a pipeline cache or shader blob;
/// bulk memory is sent in pieces of kMaxPatchBytes.
inline constexpr uint32_t kMaxFrameBytes = 256u << 20;

/// A batch is cut at a command boundary once it holds this much, so that the receiver starts early.
inline constexpr size_t kBatchBytes = 1u << 20;

/// Memory contents travel in pieces: other frames are not stuck behind a large upload, one side
/// works on a piece while the other makes the next, and both use buffers that stay in the cache.
/// On slow links they are smaller (compression.h).
inline constexpr size_t kMaxPatchBytes = 1u << 20;

/// Payload that a compressed frame may stand for: a batch and the largest patch, and some more. Few
/// bytes can stand for many, so the receiver allows much less here than in a frame that was sent.
inline constexpr uint32_t kMaxUnpackedBytes = 8u << 20;

/// Memory that decoding one command may take: images grow to at most a few times their wire size,
/// and output arrays are as large as the guest asks for.
inline constexpr size_t kMaxArenaBytes = 512u << 20;

/// Longest pNext chain. A device creation with every known feature struct has about 250.
inline constexpr uint32_t kMaxChainLength = 512;

/// Deepest nesting of records; the registry's own types nest 6 deep.
inline constexpr uint32_t kMaxDepth = 16;

/// Highest object index per type: 16 Mi live objects of one type.
inline constexpr uint32_t kMaxObjectIndex = 1u << 24;

/// Payload of the first frame in either direction, before the peer is known to speak the protocol.
inline constexpr uint32_t kMaxSetupBytes = 16u << 20;

/// Longest sentence (reason, error) that travels.
inline constexpr uint32_t kMaxSentenceBytes = 4096;

/// Extensions in a hello, or of one device in a snapshot; the registry has about 450.
inline constexpr uint32_t kMaxExtensions = 1024;

/// Physical devices in one snapshot (VK_MAX_DEVICE_GROUP_SIZE is 32).
inline constexpr uint32_t kMaxPhysicalDevices = 32;

}  // namespace vesper::proto
