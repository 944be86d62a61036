// SPDX-License-Identifier: Apache-2.0
#include "server/visitor.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "transport/stream.h"

namespace vesper::server {
namespace {

// Bytes of a line that are looked at at once, and how often before others have their turn.
constexpr size_t kGlance = 4u << 10;
constexpr int kGlances = 16;

}  // namespace

Visitor::Visitor(asio::io_context& context, transport::UniqueFd connection,
                 transport::Endpoint door)
    : connection_(std::move(connection)),
      door_(std::move(door)),
      peer_(transport::DescribePeer(connection_.get())),
      watch_(context, connection_.get()) {}

Visitor::~Visitor() {
  if (watch_.is_open()) {
    watch_.release();  // it isn't the owner
  }
}

transport::UniqueFd Visitor::Leave() {
  watch_.release();
  return std::move(connection_);
}

Visitor::News Visitor::Look() {
  std::array<std::byte, kGlance> bytes;
  for (int i = 0; i < kGlances; ++i) {
    // What comes after an opening is the worker's.
    const ssize_t count =
        ::recv(connection_.get(), bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
      return News::kNothing;
    }
    if (count <= 0) {
      return News::kGone;
    }
    if (!is_line_ && bytes[0] != transport::kLineMark) {
      return News::kGuest;
    }
    is_line_ = true;
    const transport::LineDecoder::Step step =
        decoder_.Decode(std::span(bytes).first(static_cast<size_t>(count)));
    ::recv(connection_.get(), bytes.data(), step.taken, MSG_DONTWAIT);
    if (step.sign && step.sign->kind == transport::LineSign::Kind::kOpen) {
      session_ = step.sign->session;
      has_denied_ = false;
      return News::kOpening;
    }
    if (step.data != 0 && !has_denied_) {
      // A guest goes on with a session that an earlier server had. Without an answer it would wait.
      has_denied_ = true;
      Say({transport::LineSign::Kind::kEnd, 0});
    }
  }
  return News::kNothing;
}

void Visitor::Refuse(std::span<const std::byte> refusal) {
  std::vector<std::byte> bytes(2 * (transport::kLineSignBytes + refusal.size()));
  const auto accept = transport::EncodeLineSign({transport::LineSign::Kind::kAccept, session_});
  std::copy(accept.begin(), accept.end(), bytes.begin());
  const size_t count =
      transport::kLineSignBytes +
      transport::EncodeLine(refusal, std::span(bytes).subspan(transport::kLineSignBytes));
  const auto end = transport::EncodeLineSign({transport::LineSign::Kind::kEnd, session_});
  std::copy(end.begin(), end.end(), bytes.begin() + static_cast<ptrdiff_t>(count));
  bytes.resize(count + end.size());
  // Of a line that is full nobody takes anything; who opens a session says so again.
  (void)::send(connection_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Visitor::Say(const transport::LineSign& sign) {
  const auto bytes = transport::EncodeLineSign(sign);
  (void)::send(connection_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace vesper::server
