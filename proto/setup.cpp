// SPDX-License-Identifier: Apache-2.0
#include "proto/setup.h"

#include <vulkan/vulkan_core.h>

#include <algorithm>

#include "proto/frame.h"
#include "proto/hash.h"
#include "proto/reader.h"
#include "proto/record.h"

namespace vesper::proto {
namespace {

void PutString(Buffer& buffer, const std::string& text) {
  buffer.PutValue<uint64_t>(text.size());
  buffer.Put(text.data(), text.size());
}

std::string TakeString(Reader& reader) {
  const uint64_t size = reader.Value<uint64_t>();
  if (size > kMaxSentenceBytes) {
    reader.Fail();
    return {};
  }
  const std::span<const std::byte> bytes = reader.Take(size);
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  // What a peer sends ends up in logs and on terminals.
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

template <typename T>
void PutVector(Buffer& buffer, const std::vector<T>& values) {
  buffer.PutValue<uint64_t>(values.size());
  buffer.Put(values.data(), values.size() * sizeof(T));
}

template <typename T>
std::vector<T> TakeVector(Reader& reader, uint64_t max_count) {
  const uint64_t count = reader.Value<uint64_t>();
  if (count > max_count) {
    reader.Fail();
    return {};
  }
  const std::span<const std::byte> bytes = reader.TakeArray(count, sizeof(T));
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  return values;
}

void PutFlags(Buffer& buffer, const std::vector<bool>& flags) {
  std::vector<uint8_t> bytes(flags.begin(), flags.end());
  PutVector(buffer, bytes);
}

std::vector<bool> TakeFlags(Reader& reader) {
  const std::vector<uint8_t> bytes = TakeVector<uint8_t>(reader, 0x10000);
  return {bytes.begin(), bytes.end()};
}

/// Magic and version come first and never move, so that any two versions can tell each other.
bool TakePreamble(Reader& reader, uint32_t* version, std::string* error) {
  const uint64_t magic = reader.Value<uint64_t>();
  *version = static_cast<uint32_t>(reader.Value<uint64_t>());
  if (reader.Failed() || magic != kProtocolMagic) {
    *error = "expected Vesper's set-up, got something else; is the other end a Vesper of this age?";
    return false;
  }
  if (*version != kProtocolVersion) {
    *error = "expected protocol version " + std::to_string(kProtocolVersion) + ", got " +
             std::to_string(*version) + "; install the same Vesper on both sides";
    return false;
  }
  return true;
}

void PutPreamble(Buffer& buffer, uint32_t version) {
  buffer.PutValue(kProtocolMagic);
  buffer.PutValue<uint64_t>(version);
}

bool Finish(const Reader& reader, const char* what, std::string* error) {
  if (reader.Failed() || !reader.AtEnd()) {
    *error = std::string("expected a well-formed ") + what +
             ", got one that is cut, too large or has bytes left over; the peer is broken";
    return false;
  }
  return true;
}

}  // namespace

std::vector<uint32_t> CommandHashes() {
  std::vector<uint32_t> hashes(MaxCommandNumber() + 1u, 0);
  for (uint16_t number = 1; number <= MaxCommandNumber(); ++number) {
    if (const Record* record = CommandRecord(number)) {
      hashes[number] = record->hash;
    }
  }
  return hashes;
}

std::vector<uint32_t> StructHashes() {
  std::vector<uint32_t> hashes(MaxStructNumber() + 1u, 0);
  for (uint16_t number = 1; number <= MaxStructNumber(); ++number) {
    if (const Record* record = StructRecord(number)) {
      hashes[number] = record->hash;
    }
  }
  return hashes;
}

std::vector<bool> Intersect(const std::vector<uint32_t>& ours,
                            const std::vector<uint32_t>& theirs) {
  std::vector<bool> both(ours.size(), false);
  for (size_t i = 0; i < ours.size() && i < theirs.size(); ++i) {
    both[i] = ours[i] != 0 && ours[i] == theirs[i];
  }
  return both;
}

void EncodeHello(const Hello& hello, Buffer& buffer) {
  const size_t frame = BeginFrame(buffer, FrameType::kHello);
  PutPreamble(buffer, hello.protocol_version);
  buffer.PutValue<uint64_t>(hello.page_size);
  buffer.PutValue<uint64_t>(hello.pid);
  buffer.PutValue<uint64_t>(hello.probe ? 1 : 0);
  buffer.PutValue<uint64_t>(hello.compare_all_memory ? 1 : 0);
  buffer.PutValue<uint64_t>(hello.compression);
  buffer.PutValue<uint64_t>(hello.always_compress ? 1 : 0);
  buffer.PutValue<uint64_t>(hello.offers_memory ? 1 : 0);
  buffer.PutValue<uint64_t>(hello.ring_bytes);
  buffer.PutValue<uint64_t>(hello.application_version);
  buffer.PutValue<uint64_t>(hello.engine_version);
  buffer.PutValue<uint64_t>(hello.api_version);
  PutString(buffer, hello.application_name);
  PutString(buffer, hello.engine_name);
  PutString(buffer, hello.program);
  PutVector(buffer, hello.archive_key);
  PutVector(buffer, hello.command_hashes);
  PutVector(buffer, hello.struct_hashes);
  buffer.PutValue<uint64_t>(hello.extensions.size());
  for (const std::string& name : hello.extensions) {
    PutString(buffer, name);
  }
  FinishFrame(buffer, frame);
}

bool DecodeHello(std::span<const std::byte> payload, Hello* hello, std::string* error) {
  Reader reader(payload);
  if (!TakePreamble(reader, &hello->protocol_version, error)) {
    return false;
  }
  hello->page_size = static_cast<uint32_t>(reader.Value<uint64_t>());
  hello->pid = reader.Value<uint64_t>();
  hello->probe = reader.Value<uint64_t>() != 0;
  hello->compare_all_memory = reader.Value<uint64_t>() != 0;
  hello->compression = static_cast<uint32_t>(reader.Value<uint64_t>());
  hello->always_compress = reader.Value<uint64_t>() != 0;
  hello->offers_memory = reader.Value<uint64_t>() != 0;
  hello->ring_bytes = reader.Value<uint64_t>();
  hello->application_version = static_cast<uint32_t>(reader.Value<uint64_t>());
  hello->engine_version = static_cast<uint32_t>(reader.Value<uint64_t>());
  hello->api_version = static_cast<uint32_t>(reader.Value<uint64_t>());
  hello->application_name = TakeString(reader);
  hello->engine_name = TakeString(reader);
  hello->program = TakeString(reader);
  hello->archive_key = TakeVector<std::byte>(reader, sizeof(HashKey));
  if (!hello->archive_key.empty() && hello->archive_key.size() != sizeof(HashKey)) {
    reader.Fail();
  }
  hello->command_hashes = TakeVector<uint32_t>(reader, 0x10000);
  hello->struct_hashes = TakeVector<uint32_t>(reader, 0x10000);
  const uint64_t extensions = reader.Value<uint64_t>();
  if (extensions > kMaxExtensions) {
    reader.Fail();
  }
  for (uint64_t i = 0; i < extensions && !reader.Failed(); ++i) {
    hello->extensions.push_back(TakeString(reader));
    const size_t length = hello->extensions.back().size();
    if (length == 0 || length > VK_MAX_EXTENSION_NAME_SIZE) {
      reader.Fail();
    }
  }
  return Finish(reader, "hello", error);
}

void EncodeWelcome(const Welcome& welcome, Buffer& buffer) {
  const size_t frame = BeginFrame(buffer, FrameType::kWelcome);
  PutPreamble(buffer, welcome.protocol_version);
  buffer.PutValue<uint64_t>(welcome.page_size);
  buffer.PutValue<uint64_t>(uint64_t{welcome.chunk_mebibytes} << 32 | welcome.compression);
  buffer.PutValue<uint64_t>(welcome.archives ? 1 : 0);
  PutString(buffer, welcome.server_version);
  PutString(buffer, welcome.why_not_shared);
  PutString(buffer, welcome.why_no_rings);
  PutFlags(buffer, welcome.commands);
  PutFlags(buffer, welcome.structs);
  PutVector(buffer, welcome.snapshot);
  FinishFrame(buffer, frame);
}

bool DecodeWelcome(std::span<const std::byte> payload, Welcome* welcome, std::string* error) {
  Reader reader(payload);
  if (!TakePreamble(reader, &welcome->protocol_version, error)) {
    return false;
  }
  welcome->page_size = static_cast<uint32_t>(reader.Value<uint64_t>());
  const auto sending = reader.Value<uint64_t>();
  welcome->compression = static_cast<uint32_t>(sending);
  welcome->chunk_mebibytes = static_cast<uint32_t>(sending >> 32);
  welcome->archives = reader.Value<uint64_t>() != 0;
  welcome->server_version = TakeString(reader);
  welcome->why_not_shared = TakeString(reader);
  welcome->why_no_rings = TakeString(reader);
  welcome->commands = TakeFlags(reader);
  welcome->structs = TakeFlags(reader);
  welcome->snapshot = TakeVector<std::byte>(reader, kMaxSetupBytes);
  return Finish(reader, "welcome", error);
}

void EncodeRefusal(const std::string& sentence, Buffer& buffer) {
  const size_t frame = BeginFrame(buffer, FrameType::kRefusal);
  PutString(buffer, sentence.substr(0, kMaxSentenceBytes));
  FinishFrame(buffer, frame);
}

std::string DecodeRefusal(std::span<const std::byte> payload) {
  Reader reader(payload);
  const std::string sentence = TakeString(reader);
  return reader.Failed() ? "the server refused, and its reason was not readable" : sentence;
}

}  // namespace vesper::proto
