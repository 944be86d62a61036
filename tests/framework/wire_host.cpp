// SPDX-License-Identifier: Apache-2.0
#include "tests/framework/wire_host.h"

#include <optional>

#include "proto/chunks.h"
#include "proto/compression.h"
#include "proto/frame.h"
#include "tests/framework/mock_vulkan.h"

namespace vesper::tests {
namespace {

// Little, so that tests reach it.
constexpr uint32_t kChunkMebibytes = 4;

}  // namespace

WireHost::WireHost(std::unique_ptr<transport::Connection> connection, unsigned threads,
                   server::CommandObserver* observer)
    : connection_(std::move(connection)),
      threads_(threads),
      observer_(observer),
      thread_([this] { Run(); }) {}

WireHost::~WireHost() {
  connection_->Shutdown();
  Finish();
}

const std::string& WireHost::Finish() {
  if (thread_.joinable()) {
    thread_.join();
  }
  return error_;
}

void WireHost::WaitForTasks() {
  const std::lock_guard lock(mutex_);
  if (session_ != nullptr) {
    session_->WaitForTasks();
  }
}

void WireHost::Kill() { connection_->Shutdown(); }

void WireHost::Run() {
  server::Session session(*connection_, &MockVulkan::GetProcAddr, "", server::MemoryReading::kAuto,
                          threads_);
  session.SetObserver(observer_);
  session.OfferChunks(kChunkMebibytes);
  proto::ChunkStore chunks(size_t{kChunkMebibytes} << 20);
  std::mutex failure_mutex;
  std::string failure;  // of a task
  session.OnFailure([&](const std::string& error) {
    {
      const std::lock_guard lock(failure_mutex);
      failure = error;
    }
    session.SayGoodbye(error.c_str());
    connection_->Shutdown();
  });
  {
    const std::lock_guard lock(mutex_);
    session_ = &session;
  }
  proto::FrameSplitter splitter(proto::kMaxFrameBytes);
  bool greeted = false;
  transport::Connection* connection = connection_.get();
  while (error_.empty()) {
    const std::span<std::byte> space = splitter.BeginReceive();
    const size_t bytes = space.empty() ? 0 : connection->ReadSome(space);
    if (bytes == 0) {
      break;
    }
    splitter.EndReceive(bytes);
    while (const std::optional<proto::Frame> frame = splitter.Next()) {
      if (!greeted) {
        if (frame->type != proto::FrameType::kHello) {
          error_ = "commands before the hello";
        } else if (session.HandleHello(frame->payload, &error_) != server::Session::Setup::kDone) {
          error_ += " (refused)";
        }
        greeted = true;
        if (session.rings() != nullptr) {
          connection = session.rings();
        }
        splitter.AllowCompression(proto::kAllCompression);
        splitter.SetChunks(&chunks);
      } else if (frame->type != proto::FrameType::kCommands) {
        error_ = "another hello";
      } else if (!session.HandleCommands(frame->payload, &error_)) {
        session.SayGoodbye(error_.c_str());
      }
      if (!error_.empty()) {
        break;
      }
    }
    if (splitter.Failed()) {
      error_ = splitter.Error();
    }
  }
  connection_->Shutdown();
  {
    const std::lock_guard lock(mutex_);
    session_ = nullptr;
  }
  const std::lock_guard lock(failure_mutex);
  if (error_.empty()) {
    error_ = failure;
  }
}

}  // namespace vesper::tests
