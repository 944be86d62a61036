// SPDX-License-Identifier: Apache-2.0
//
// A connection that the front still holds, since no worker can have it yet or for good.
//
// Of a Unix socket the front doesn't know who has connected until the first byte. Most visitors are
// guests, who say hello at once and get a worker, which takes the connection over. But it may also
// be a virtual machine's emulator, with a serial line (transport/line_code.h) that is there as long
// as the machine is, and on which nobody may say anything for days. A line is never given away: it
// is lent to a worker for each session that a guest opens on it, and comes back when the worker
// ends. Between sessions the front reads it, for signs only: 18 bytes of fixed form.
//
// Threads: none; it never blocks.
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <span>
#include <string>

#include "transport/endpoint.h"
#include "transport/line_code.h"
#include "transport/unique_fd.h"

namespace vesper::server {

class Visitor {
 public:
  enum class News : uint8_t {
    kNothing,  ///< More has to come.
    kGuest,    ///< A guest, who is waiting for a worker.
    kOpening,  ///< A line, on which a guest has opened the session session().
    kGone,     ///< The other end is closed.
  };

  Visitor(asio::io_context& context, transport::UniqueFd connection, transport::Endpoint door);
  ~Visitor();

  /// Looks at what has come.
  News Look();

  bool is_line() const { return is_line_; }
  uint64_t session() const { return session_; }
  const std::string& peer() const { return peer_; }
  const transport::Endpoint& door() const { return door_; }
  int connection() const { return connection_.get(); }
  asio::posix::stream_descriptor& watch() { return watch_; }

  /// Gives the connection away.
  transport::UniqueFd Leave();

  /// On a line: answers the opening with these bytes, and ends the session.
  void Refuse(std::span<const std::byte> refusal);
  /// On a line: the worker of session() has ended, however that came about.
  void SayEnd() { Say({transport::LineSign::Kind::kEnd, session_}); }

 private:
  void Say(const transport::LineSign& sign);

  transport::UniqueFd connection_;
  const transport::Endpoint door_;
  const std::string peer_;
  asio::posix::stream_descriptor watch_;
  bool is_line_ = false;
  bool has_denied_ = false;  // said that there is no session
  transport::LineDecoder decoder_;
  uint64_t session_ = 0;
};

}  // namespace vesper::server
