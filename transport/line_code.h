// SPDX-License-Identifier: Apache-2.0
//
// What passes over a serial line.
//
// A line (a port of virtio-serial) is a stream of bytes that begins with a virtual machine and ends
// with it. Programs in the machine use it one after the other, each for one session, and nothing
// beside the bytes says where one ends and the next begins. A program can be killed in the middle
// of a write, the guest can reboot, the host's server can restart: each time one side goes on
// with something new, and the other must not take it for what it was in the middle of.
//
// So there is a byte, kLineMark, which never stands for itself. A session's bytes pass as they are,
// but for this one, which passes as the mark and 'L'. What else follows a mark is a sign:
//
//   mark, a letter, 16 hexadecimal digits: the session's number
//
//   O  open    guest: a session of this number begins; said again until it is accepted
//   A  accept  host: what follows is of this session
//   E  end     either: this session is over; host with number 0: there is no session
//   P  probe   host: nothing; to see whether somebody takes it (line_connection.h)
//
// A sign can therefore stand anywhere, also where a write was broken off, and after it there is no
// doubt: what came before belongs to the old session, or is noise, and is not looked at; what
// comes after belongs to the session that the sign names. The number is random, so that neither
// side takes a sign that lay in the line for an answer to its own.
//
// The mark is odd, as the first byte of an ordinary connection never is (frames are multiples of 8
// bytes, proto/frame.h, and begin with the low byte of that): a server tells lines from guests by
// the first byte.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace vesper::transport {

inline constexpr std::byte kLineMark{0xf5};

struct LineSign {
  enum class Kind : char { kOpen = 'O', kAccept = 'A', kEnd = 'E', kProbe = 'P' };

  Kind kind = Kind::kProbe;
  uint64_t session = 0;

  friend bool operator==(const LineSign&, const LineSign&) = default;
};

inline constexpr size_t kLineSignBytes = 2 + 16;

std::array<std::byte, kLineSignBytes> EncodeLineSign(const LineSign& sign);

/// Turns a session's bytes into those of the line.
///
/// Writes as much as there is room for, takes what it has dealt with from the front of `bytes`, and
/// returns how many were written. There must be room for two.
size_t EncodeLine(std::span<const std::byte>& bytes, std::span<std::byte> room);

/// Reads what comes over a line, in pieces of any size.
class LineDecoder {
 public:
  struct Step {
    size_t taken = 0;              ///< Bytes of the line that were dealt with.
    size_t data = 0;               ///< Bytes of a session, which now lie at the beginning.
    std::optional<LineSign> sign;  ///< What comes after the data.
  };

  /// Deals with the bytes up to the next sign, or with all. A sign that is broken off, or none that
  /// there is, is left out.
  Step Decode(std::span<std::byte> bytes);

 private:
  // Where in a sign the line is.
  enum class Place : uint8_t { kOutside, kLetter, kDigits };

  // One byte inside a sign; true if it was the last.
  bool Take(std::byte byte);

  Place place_ = Place::kOutside;
  uint8_t digits_ = 0;
  LineSign sign_;
};

}  // namespace vesper::transport
