// SPDX-License-Identifier: Apache-2.0
// Both sides of a ring while the input stores what it likes in the words and the bytes that they
// share. Nothing is touched outside of the ring, and as long as only the two sides write, what was
// put is what is taken.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>

#include "transport/ring.h"

namespace {

constexpr size_t kCapacity = 64;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool IsEmpty() const { return size_ == 0; }
  uint64_t Number(size_t bytes) {
    uint64_t number = 0;
    const size_t count = std::min(bytes, size_);
    std::memcpy(&number, data_, count);
    data_ += count;
    size_ -= count;
    return number;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  vesper::transport::RingWords words{};
  std::array<std::byte, kCapacity> bytes{};
  vesper::transport::RingWriter writer(words, bytes);
  vesper::transport::RingReader reader(words, bytes);
  std::deque<std::byte> expected;
  bool is_honest = true;
  uint8_t next = 0;
  while (!input.IsEmpty()) {
    const uint64_t operation = input.Number(1);
    switch (operation % 8) {
      case 0:
      case 1: {
        std::array<std::byte, 100> some;
        for (std::byte& byte : some) {
          byte = std::byte{next++};
        }
        const size_t count = writer.Put({some.data(), input.Number(1) % some.size()});
        expected.insert(expected.end(), some.begin(), some.begin() + count);
        break;
      }
      case 2:
        writer.Publish();
        break;
      case 3:
      case 4: {
        std::array<std::byte, 100> some;
        const size_t count = reader.Take({some.data(), input.Number(1) % some.size()});
        for (size_t i = 0; i < count && is_honest; ++i) {
          if (expected.empty() || expected.front() != some[i]) {
            std::abort();
          }
          expected.pop_front();
        }
        break;
      }
      case 5:
        is_honest = false;
        words.written.store(words.written.load() + input.Number(2) - 0x8000);
        break;
      case 6:
        is_honest = false;
        words.read.store(input.Number(8));
        break;
      default:
        is_honest = false;
        bytes[input.Number(1) % kCapacity] = static_cast<std::byte>(operation);
        break;
    }
    if (is_honest && (writer.IsBroken() || reader.IsBroken())) {
      std::abort();
    }
    (void)writer.HasRoom();
    (void)reader.HasBytes();
  }
  return 0;
}
