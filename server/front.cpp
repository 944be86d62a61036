// SPDX-License-Identifier: Apache-2.0
#include "server/front.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "proto/setup.h"
#include "server/service_manager.h"
#include "server/visitor.h"
#include "server/worker_process.h"
#include "transport/stream.h"

namespace vesper::server {
namespace {

using Clock = std::chrono::steady_clock;

struct Session {
  uint64_t number = 0;
  std::string peer;
  Clock::time_point start;
  std::unique_ptr<Visitor> line;  // the one that it is served on, if it is
};

// A listener and the event loop's watch on it.
class Door {
 public:
  Door(asio::io_context& context, std::unique_ptr<transport::Listener> listener)
      : listener_(std::move(listener)), watch_(context), pause_(context) {
    watch_.assign(listener_->Descriptor());
  }
  ~Door() { watch_.release(); }  // the listener owns the descriptor

  transport::Listener& listener() { return *listener_; }
  asio::posix::stream_descriptor& watch() { return watch_; }
  asio::steady_timer& pause() { return pause_; }

 private:
  std::unique_ptr<transport::Listener> listener_;
  asio::posix::stream_descriptor watch_;
  asio::steady_timer pause_;
};

class Front {
 public:
  explicit Front(const Options& options)
      : options_(options),
        stop_signals_(context_, SIGTERM, SIGINT),
        child_signals_(context_, SIGCHLD),
        grace_(context_) {}

  // False with one sentence if there is nothing to listen on.
  bool Open(std::string* error);
  void Run();

 private:
  bool MayListen(const transport::Endpoint& endpoint, std::string* error) const;
  std::vector<transport::Endpoint> WantedEndpoints(std::string* error) const;

  void WaitForGuest(Door* door);
  void AcceptWaiting(Door* door);
  bool HasRoom() const { return sessions_.size() < static_cast<size_t>(options_.max_sessions); }
  std::string NoRoom() const;
  void Welcome(transport::UniqueFd connection, const transport::Endpoint& endpoint);
  void Seat(std::unique_ptr<Visitor> visitor);
  void WaitForNews(uint64_t number);
  void Attend(uint64_t number);
  void Lend(std::unique_ptr<Visitor> line);
  void Admit(transport::UniqueFd connection, const transport::Endpoint& endpoint);
  void Begin(pid_t pid, Session session, const transport::Endpoint& endpoint);
  void Refuse(transport::UniqueFd connection, const std::string& sentence) const;

  void WaitForChildren();
  void CollectEnded();
  void LogEnd(const Session& session, int wait_status) const;

  void WaitForStop();
  void Stop(int signal);
  void SignalWorkers(int signal) const;
  void LeaveIfDone();

  const Options& options_;
  asio::io_context context_{1};
  asio::signal_set stop_signals_;
  asio::signal_set child_signals_;
  asio::steady_timer grace_;
  std::vector<std::unique_ptr<Door>> doors_;
  // By a number, which grows: the first has been silent for longest. A handler of the event loop
  // has the number alone, since it may run when the visitor has been hung up on.
  std::map<uint64_t, std::unique_ptr<Visitor>> visitors_;
  uint64_t last_visitor_ = 0;
  std::map<pid_t, Session> sessions_;
  uint64_t last_number_ = 0;
  bool is_stopping_ = false;
};

bool Front::MayListen(const transport::Endpoint& endpoint, std::string* error) const {
  if (endpoint.kind != transport::Endpoint::Kind::kTcp || endpoint.IsLoopback() ||
      options_.allow_plaintext) {
    return true;
  }
  *error = "refusing to listen on " + endpoint.ToString() +
           ", where other machines could use the devices without encryption or a password; use an "
           "address of the loopback interface, or give --allow-plaintext";
  return false;
}

std::vector<transport::Endpoint> Front::WantedEndpoints(std::string* error) const {
  if (!options_.endpoints.empty() || !doors_.empty()) {
    return options_.endpoints;
  }
  const std::optional<transport::Endpoint> endpoint = DefaultEndpoint(error);
  if (!endpoint) {
    return {};
  }
  // A service manager makes the folder of the system's socket; root who starts the server by hand
  // should not have to. Failing shows when the socket is bound.
  std::error_code ignored;
  std::filesystem::create_directory(std::filesystem::path(endpoint->path).parent_path(), ignored);
  return {*endpoint};
}

bool Front::Open(std::string* error) {
  for (const int fd : InheritedSockets()) {
    std::unique_ptr<transport::Listener> listener = transport::Listener::Adopt(fd, error);
    if (!listener || !MayListen(listener->endpoint(), error)) {
      return false;
    }
    doors_.push_back(std::make_unique<Door>(context_, std::move(listener)));
  }
  transport::ListenOptions listen_options;
  listen_options.mode = options_.socket_mode;
  for (const transport::Endpoint& endpoint : WantedEndpoints(error)) {
    std::unique_ptr<transport::Listener> listener;
    if (MayListen(endpoint, error)) {
      listener = transport::Listener::Open(endpoint, listen_options, error);
    }
    if (!listener) {
      return false;
    }
    doors_.push_back(std::make_unique<Door>(context_, std::move(listener)));
  }
  return !doors_.empty();
}

void Front::Run() {
  WaitForStop();
  WaitForChildren();
  for (const std::unique_ptr<Door>& door : doors_) {
    WaitForGuest(door.get());
    spdlog::info("listening on {}", door->listener().endpoint().ToString());
  }
  NotifyManager("READY=1");
  context_.run();
}

void Front::WaitForGuest(Door* door) {
  door->watch().async_wait(asio::posix::stream_descriptor::wait_read,
                           [this, door](const asio::error_code& code) {
                             if (!code && !is_stopping_) {
                               AcceptWaiting(door);
                             }
                           });
}

void Front::AcceptWaiting(Door* door) {
  std::string error;
  while (transport::UniqueFd connection = door->listener().TryAccept(&error)) {
    Welcome(std::move(connection), door->listener().endpoint());
  }
  if (error.empty()) {
    WaitForGuest(door);
    return;
  }
  // The guest still waits at the door, so that watching it again at once would only spin.
  spdlog::error("{}", error);
  door->pause().expires_after(kAcceptPause);
  door->pause().async_wait([this, door](const asio::error_code& code) {
    if (!code && !is_stopping_) {
      WaitForGuest(door);
    }
  });
}

std::string Front::NoRoom() const {
  return "the server has no room for another session; all " +
         std::to_string(options_.max_sessions) + " are taken";
}

void Front::Welcome(transport::UniqueFd connection, const transport::Endpoint& endpoint) {
  if (!HasRoom() || endpoint.kind != transport::Endpoint::Kind::kUnix) {
    Admit(std::move(connection), endpoint);
    return;
  }
  if (visitors_.size() == kMaxVisitors) {
    spdlog::warn("{} connections are silent; hanging up on {}", kMaxVisitors,
                 visitors_.begin()->second->peer());
    visitors_.erase(visitors_.begin());
  }
  Seat(std::make_unique<Visitor>(context_, std::move(connection), endpoint));
}

void Front::Seat(std::unique_ptr<Visitor> visitor) {
  visitors_.emplace(++last_visitor_, std::move(visitor));
  WaitForNews(last_visitor_);
}

void Front::WaitForNews(uint64_t number) {
  visitors_.at(number)->watch().async_wait(asio::posix::stream_descriptor::wait_read,
                                           [this, number](const asio::error_code& code) {
                                             if (!code && !is_stopping_) {
                                               Attend(number);
                                             }
                                           });
}

void Front::Attend(uint64_t number) {
  const auto place = visitors_.find(number);
  if (place == visitors_.end()) {
    return;
  }
  Visitor* const visitor = place->second.get();
  const bool was_line = visitor->is_line();
  const Visitor::News news = visitor->Look();
  if (visitor->is_line() && !was_line) {
    spdlog::info("{} is a serial line of a virtual machine, on {}", visitor->peer(),
                 visitor->door().ToString());
  }
  if (news == Visitor::News::kNothing) {
    WaitForNews(number);
    return;
  }
  std::unique_ptr<Visitor> fetched = std::move(place->second);
  visitors_.erase(place);
  if (news == Visitor::News::kGuest) {
    Admit(fetched->Leave(), fetched->door());
  } else if (news == Visitor::News::kOpening) {
    Lend(std::move(fetched));
  }
}

void Front::Lend(std::unique_ptr<Visitor> line) {
  std::string error = HasRoom() ? "" : NoRoom();
  const pid_t pid = error.empty() ? SpawnWorker(line->connection(), line->session(), line->peer(),
                                                options_, &error)
                                  : -1;
  if (pid < 0) {
    spdlog::warn("refused {}: {}", line->peer(), error);
    proto::Buffer refusal;
    proto::EncodeRefusal(error, refusal);
    line->Refuse(refusal.Bytes());
    Seat(std::move(line));
    return;
  }
  const transport::Endpoint door = line->door();
  const std::string peer = line->peer();
  Begin(pid, Session{++last_number_, peer, Clock::now(), std::move(line)}, door);
}

void Front::Begin(pid_t pid, Session session, const transport::Endpoint& endpoint) {
  spdlog::info("session {}: {} connected on {}; its worker is process {}", session.number,
               session.peer, endpoint.ToString(), pid);
  sessions_.emplace(pid, std::move(session));
}

void Front::Admit(transport::UniqueFd connection, const transport::Endpoint& endpoint) {
  if (!HasRoom()) {
    Refuse(std::move(connection), NoRoom());
    return;
  }
  const std::string peer = transport::DescribePeer(connection.get());
  std::string error;
  const pid_t pid = SpawnWorker(connection.get(), 0, peer, options_, &error);
  if (pid < 0) {
    Refuse(std::move(connection), error);
    return;
  }
  Begin(pid, Session{++last_number_, peer, Clock::now(), nullptr}, endpoint);
}

void Front::Refuse(transport::UniqueFd connection, const std::string& sentence) const {
  spdlog::warn("refused {}: {}", transport::DescribePeer(connection.get()), sentence);
  proto::Buffer refusal;
  proto::EncodeRefusal(sentence, refusal);
  std::string error;
  const auto guest = transport::AdoptSocket(connection.Release(), &error);
  if (guest) {
    // It fits into the buffer of the fresh socket, so that no guest can hold the front up.
    const std::span<const std::byte> parts[] = {refusal.Bytes()};
    guest->Write(parts);
  }
}

void Front::WaitForChildren() {
  child_signals_.async_wait([this](const asio::error_code& code, int) {
    if (!code) {
      CollectEnded();
      WaitForChildren();
    }
  });
}

void Front::CollectEnded() {
  // One signal may stand for several ends.
  for (auto session = sessions_.begin(); session != sessions_.end();) {
    int wait_status = 0;
    if (::waitpid(session->first, &wait_status, WNOHANG) == session->first) {
      LogEnd(session->second, wait_status);
      if (std::unique_ptr<Visitor> line = std::move(session->second.line)) {
        line->SayEnd();
        Seat(std::move(line));
      }
      session = sessions_.erase(session);
    } else {
      ++session;
    }
  }
  LeaveIfDone();
}

void Front::LogEnd(const Session& session, int wait_status) const {
  const bool is_expected =
      is_stopping_ || (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == kGuestLeft);
  const bool was_stopped =
      is_stopping_ && WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGTERM;
  const std::chrono::duration<double> lasted = Clock::now() - session.start;
  spdlog::log(is_expected ? spdlog::level::info : spdlog::level::warn,
              "session {}: {} ended after {:.3f} s: {}", session.number, session.peer,
              lasted.count(), was_stopped ? "the server stops" : DescribeEnd(wait_status));
}

void Front::WaitForStop() {
  stop_signals_.async_wait([this](const asio::error_code& code, int signal) {
    if (!code) {
      Stop(signal);
      WaitForStop();
    }
  });
}

void Front::Stop(int signal) {
  if (is_stopping_) {
    SignalWorkers(SIGKILL);
    return;
  }
  is_stopping_ = true;
  spdlog::info("stopping on signal {}; {} sessions are open", signal, sessions_.size());
  NotifyManager("STOPPING=1");
  doors_.clear();
  visitors_.clear();
  SignalWorkers(SIGTERM);
  grace_.expires_after(kStopGrace);
  grace_.async_wait([this](const asio::error_code& code) {
    if (!code) {
      spdlog::warn("{} workers did not end in time and are killed", sessions_.size());
      SignalWorkers(SIGKILL);
    }
  });
  LeaveIfDone();
}

void Front::SignalWorkers(int signal) const {
  for (const auto& [pid, session] : sessions_) {
    ::kill(pid, signal);
  }
}

void Front::LeaveIfDone() {
  if (is_stopping_ && sessions_.empty()) {
    spdlog::info("stopped");
    context_.stop();
  }
}

}  // namespace

int RunFront(const Options& options) {
  std::string error;
  try {
    // Asio throws when the system denies it the descriptors of its event loop.
    Front front(options);
    if (front.Open(&error)) {
      front.Run();
      return 0;
    }
  } catch (const std::exception& exception) {
    error = std::string("the server cannot go on: ") + exception.what();
  }
  spdlog::error("{}", error);
  return 1;
}

}  // namespace vesper::server
