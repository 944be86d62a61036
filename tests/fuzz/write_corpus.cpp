// SPDX-License-Identifier: Apache-2.0
//
// Writes the fuzzers' seeds: well-formed messages of every kind, made by the encoders from the
// contents that the round-trip tests use.
//
//   write_corpus FOLDER
#include <turbojpeg.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "client_icd/answer_file.h"
#include "proto/compression.h"
#include "proto/frame.h"
#include "proto/memory_patch.h"
#include "proto/records_gen.h"
#include "proto/setup.h"
#include "proto/snapshot.h"
#include "tests/framework/record_filler.h"

namespace vesper::tests {
namespace {

void Write(const std::filesystem::path& folder, const std::string& name, const std::string& prefix,
           std::span<const std::byte> bytes) {
  std::filesystem::create_directories(folder);
  std::ofstream file(folder / name, std::ios::binary);
  file << prefix;
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

void WriteCommands(const std::filesystem::path& folder) {
  const proto::KnownStructs known;
  for (uint16_t number = 1; number <= proto::MaxCommandNumber(); ++number) {
    const proto::Record* record = proto::CommandRecord(number);
    if (record == nullptr) {
      continue;
    }
    for (uint64_t shape = 0; shape < 3; ++shape) {
      proto::Arena arena;
      const void* args = RecordFiller(shape, 1, RecordFiller::Chains::kSome, arena).Make(*record);
      const std::string name = std::string(record->name) + "-" + std::to_string(shape);
      proto::Buffer command;
      const size_t header = proto::BeginCommand(command, number, proto::kWantsReply, 1);
      proto::Encoder(command, known, IdOfTestHandle).Request(*record, args);
      if (proto::FinishCommand(command, header) && command.size() < 65536) {
        Write(folder / "host_command", name, "", command.Bytes());
      }
      proto::Buffer reply;
      proto::Encoder(reply, known, IdOfTestHandle).Reply(*record, args);
      if (reply.size() < 65536) {
        const uint64_t choice = shape << 16 | number;
        Write(folder / "guest_reply", name,
              std::string(reinterpret_cast<const char*>(&choice), sizeof(choice)), reply.Bytes());
      }
      if (shape == 0 && number % 20 == 1) {
        proto::Buffer frames;
        for (int i = 0; i < 2; ++i) {
          const size_t frame = proto::BeginFrame(frames, proto::FrameType::kCommands);
          frames.Put(command.Bytes().data(), command.size());
          proto::FinishFrame(frames, frame);
        }
        Write(folder / "frame", name, std::string(1, '\x0c'), frames.Bytes());
      }
    }
  }
}

void WriteCompressed(const std::filesystem::path& folder) {
  for (const uint32_t algorithm : {proto::kLz4, proto::kZstd}) {
    proto::Buffer frames;
    for (int i = 0; i < 2; ++i) {
      const size_t frame = proto::BeginFrame(frames, proto::FrameType::kCommands);
      const size_t header = proto::BeginCommand(frames, 1, 0, 0);
      for (uint64_t word = 0; word < 300; ++word) {
        frames.PutValue(word % 20);
      }
      if (proto::FinishCommand(frames, header)) {
        proto::FinishFrame(frames, frame);
      }
    }
    proto::FrameCompressor compressor;
    compressor.Enable(algorithm, true, false);
    const std::span<const std::byte> whole = frames.Bytes();
    Write(folder, "compressed-" + std::to_string(algorithm), std::string(1, '\x0c'),
          compressor.Prepare({&whole, 1}).front());
  }
}

void WriteSetup(const std::filesystem::path& folder) {
  const auto payload = [](const proto::Buffer& frame) {
    return frame.Bytes().subspan(proto::kFrameHeaderBytes);
  };
  proto::Hello hello;
  hello.application_name = "application";
  hello.program = "program";
  hello.extensions = {"VK_KHR_maintenance1", "VK_KHR_multiview"};
  hello.command_hashes = {0, 1, 2};
  hello.struct_hashes = {0, 3};
  proto::Buffer frame;
  proto::EncodeHello(hello, frame);
  Write(folder, "hello", std::string(1, '\0'), payload(frame));

  proto::Snapshot snapshot;
  proto::PhysicalDeviceSnapshot device;
  proto::Arena arena;
  const auto make = [&](uint16_t index) {
    return RecordFiller(1, 1, RecordFiller::Chains::kSome, arena).Make(proto::Records()[index]);
  };
  namespace index = proto::record_index;
  device.properties =
      static_cast<VkPhysicalDeviceProperties2*>(make(index::VkPhysicalDeviceProperties2));
  device.features = static_cast<VkPhysicalDeviceFeatures2*>(make(index::VkPhysicalDeviceFeatures2));
  device.memory = static_cast<VkPhysicalDeviceMemoryProperties2*>(
      make(index::VkPhysicalDeviceMemoryProperties2));
  device.queue_families.push_back(
      static_cast<VkQueueFamilyProperties2*>(make(index::VkQueueFamilyProperties2)));
  device.extensions.resize(2);
  snapshot.devices.push_back(device);
  snapshot.groups.push_back({{0}, false});
  proto::Buffer encoded;
  proto::EncodeSnapshot(snapshot, proto::KnownStructs(), encoded);
  Write(folder, "snapshot", std::string(1, '\x02'), encoded.Bytes());

  proto::Welcome welcome;
  welcome.server_version = "1.2.3";
  welcome.commands = {false, true};
  welcome.structs = {false, true, true};
  welcome.snapshot.assign(encoded.Bytes().begin(), encoded.Bytes().end());
  frame.Clear();
  proto::EncodeWelcome(welcome, frame);
  Write(folder, "welcome", std::string(1, '\x01'), payload(frame));

  frame.Clear();
  proto::EncodeRefusal("expected this, got that; do the other", frame);
  Write(folder, "refusal", std::string(1, '\x03'), payload(frame));
}

void WriteAnswers(const std::filesystem::path& folder) {
  const auto reply = std::make_shared<const std::vector<std::byte>>(24);
  Write(folder, "two", std::string(1, '\0'),
        client::EncodeAnswers({1, 2}, {{{3, 4}, reply}, {{5, 6}, reply}}));
}

void WritePatches(const std::filesystem::path& folder) {
  Random random(7);
  for (int i = 0; i < 8; ++i) {
    std::vector<std::byte> live(9000);
    std::vector<std::byte> twin(9000);
    for (uint64_t writes = random.Between(1, 200); writes > 0; --writes) {
      live[random.Below(live.size())] = std::byte{1};
    }
    std::fill_n(live.begin() + 128, 64 * i, std::byte{3});
    proto::Buffer patch;
    proto::MakePatch(live.data(), twin.data(), 0, live.size(), SIZE_MAX, patch);
    Write(folder, std::to_string(i), "", patch.Bytes());
  }
}

// Two records, which the fuzzer gives their checksums.
void WriteArchive(const std::filesystem::path& folder) {
  std::vector<uint64_t> words(2);
  for (uint64_t i = 0; i < 2; ++i) {
    words.insert(words.end(), {i, i, 12, 0, 1, 2});
  }
  Write(folder, "two", std::string(1, '\0'), std::as_bytes(std::span(words)));
}

// JPEG of the whole picture, and of a part.
void WritePictures(const std::filesystem::path& folder) {
  const tjhandle encoder = tjInitCompress();
  for (const int side : {64, 16}) {
    std::vector<unsigned char> pixels;
    for (int i = 0; i < side * side * 4; ++i) {
      pixels.push_back(static_cast<unsigned char>(i * i));
    }
    unsigned char* jpeg = nullptr;
    unsigned long size = 0;
    if (tjCompress2(encoder, pixels.data(), side, 0, side, TJPF_BGRX, &jpeg, &size, TJSAMP_420, 85,
                    0) == 0) {
      const char length = static_cast<char>(side);
      Write(folder, std::to_string(side), std::string{'\1', '\0', '\0', length, length},
            std::as_bytes(std::span(jpeg, size)));
    }
    tjFree(jpeg);
  }
  tjDestroy(encoder);
}

}  // namespace
}  // namespace vesper::tests

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_corpus FOLDER\n");
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  vesper::tests::WriteCommands(folder);
  vesper::tests::WriteCompressed(folder / "frame");
  vesper::tests::WriteSetup(folder / "setup");
  vesper::tests::WritePatches(folder / "memory_patch");
  vesper::tests::WriteAnswers(folder / "answer_file");
  vesper::tests::WriteArchive(folder / "file_archive");
  vesper::tests::WritePictures(folder / "picture");
  return 0;
}
