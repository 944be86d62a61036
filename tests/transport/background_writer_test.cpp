// SPDX-License-Identifier: Apache-2.0
#include "transport/background_writer.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <future>
#include <memory>
#include <vector>

namespace vesper::transport {
namespace {

using Bytes = std::vector<std::byte>;
using Parts = BackgroundWriter::Parts;

/// What was written, and how many were writing at most.
struct Sink {
  void Take(Parts parts) {
    EXPECT_EQ(++writing, 1);
    for (const std::span<const std::byte> part : parts) {
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    --writing;
  }

  std::atomic<int> writing = 0;
  Bytes bytes;
};

TEST(BackgroundWriterTest, WritesEverythingInOrder) {
  Sink sink;
  Bytes expected;
  BackgroundWriter writer([&](Parts parts) { sink.Take(parts); });
  // Two pieces that take turns, as a sender has them.
  Bytes pieces[2];
  std::span<const std::byte> parts[2][2];
  for (int i = 0; i < 1000; ++i) {
    Bytes& piece = pieces[i % 2];
    piece.assign(static_cast<size_t>(1 + i % 7), static_cast<std::byte>(i));
    expected.insert(expected.end(), piece.begin(), piece.end());
    parts[i % 2][0] = std::span(piece).first(1);
    parts[i % 2][1] = std::span(piece).subspan(1);
    writer.Begin(parts[i % 2]);
  }
  writer.Wait();
  EXPECT_EQ(sink.bytes, expected);
}

TEST(BackgroundWriterTest, ReturnsWhileItWritesAndWaitsForTheOneBefore) {
  std::promise<void> go;
  std::atomic<int> written = 0;
  std::shared_future<void> gone = go.get_future().share();
  BackgroundWriter writer([&](Parts) {
    gone.wait();
    ++written;
  });
  writer.Begin({});
  EXPECT_EQ(written, 0);
  std::thread second([&] {
    writer.Begin({});
    EXPECT_GE(written, 1);
  });
  go.set_value();
  second.join();
  writer.Wait();
  EXPECT_EQ(written, 2);
}

TEST(BackgroundWriterTest, IsDoneWithWhatItBeganWhenItGoes) {
  std::atomic<int> written = 0;
  auto writer = std::make_unique<BackgroundWriter>([&](Parts) { ++written; });
  writer->Begin({});
  writer.reset();
  EXPECT_EQ(written, 1);
}

TEST(BackgroundWriterTest, LeavesSignalsToTheProgram) {
  std::promise<sigset_t> mask;
  BackgroundWriter writer([&](Parts) {
    sigset_t blocked;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    mask.set_value(blocked);
  });
  writer.Begin({});
  const sigset_t blocked = mask.get_future().get();
  EXPECT_EQ(::sigismember(&blocked, SIGCHLD), 1);
  EXPECT_EQ(::sigismember(&blocked, SIGINT), 1);
  EXPECT_EQ(::sigismember(&blocked, SIGSEGV), 0);
  sigset_t here;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &here);
  EXPECT_EQ(::sigismember(&here, SIGCHLD), 0);
}

}  // namespace
}  // namespace vesper::transport
