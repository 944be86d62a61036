// SPDX-License-Identifier: Apache-2.0
// A worker without a driver. It obeys lines that the guest sends, and answers each with a line:
//
//   echo TEXT      TEXT
//   options        the driver, the device and the peer, separated by commas
//   descriptors    the numbers of this process's open descriptors
//   variable NAME  the environment variable, or nothing
//   stubborn       "ok"; from then on SIGTERM is ignored
//   exit STATUS    no answer; the session ends with this status
//   abort          no answer; the worker dies of SIGABRT
#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <set>
#include <string>

#include "server/worker.h"

namespace vesper::server {
namespace {

// The next line without its newline; false at the end of the stream.
bool ReadLine(transport::Connection& connection, std::string* line) {
  line->clear();
  std::byte byte;
  while (connection.ReadSome({&byte, 1}) == 1) {
    if (static_cast<char>(byte) == '\n') {
      return true;
    }
    *line += static_cast<char>(byte);
  }
  return false;
}

std::string Descriptors() {
  std::set<int> numbers;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    numbers.insert(std::stoi(entry.path().filename().string()));
  }
  numbers.erase(*numbers.rbegin());  // that of the folder that was read
  std::string text;
  for (const int number : numbers) {
    text += (text.empty() ? "" : " ") + std::to_string(number);
  }
  return text;
}

std::string Obey(const std::string& command, const std::string& argument,
                 const WorkerOptions& options) {
  if (command == "echo") {
    return argument;
  }
  if (command == "options") {
    return options.driver_manifest + "," + options.device_selector + "," + options.peer;
  }
  if (command == "descriptors") {
    return Descriptors();
  }
  if (command == "variable") {
    const char* value = ::getenv(argument.c_str());
    return value == nullptr ? "" : value;
  }
  if (command == "stubborn") {
    ::signal(SIGTERM, SIG_IGN);
    return "ok";
  }
  if (command == "abort") {
    ::abort();
  }
  return "what?";
}

}  // namespace

int RunWorker(std::unique_ptr<transport::Connection> connection, const WorkerOptions& options) {
  std::string line;
  while (ReadLine(*connection, &line)) {
    const size_t space = line.find(' ');
    const std::string command = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (command == "exit") {
      return std::stoi(argument);
    }
    const std::string answer = Obey(command, argument, options) + "\n";
    const std::span<const std::byte> parts[] = {std::as_bytes(std::span(answer))};
    if (!connection->Write(parts)) {
      return kConnectionLost;
    }
  }
  return connection->Error().empty() ? kGuestLeft : kConnectionLost;
}

}  // namespace vesper::server
