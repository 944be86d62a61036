// SPDX-License-Identifier: Apache-2.0
// vesper: the command that people use on the guest's side.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <string_view>

#include "cli/doctor.h"
#include "cli/ping.h"
#include "cli/run.h"
#include "transport/endpoint.h"

namespace {

constexpr int kUsageStatus = 2;

std::string CheckEndpoint(const std::string& text) {
  std::string error;
  vesper::transport::Endpoint::Parse(text, &error);
  return error;
}

CLI::Option* AddServerOption(CLI::App* command, std::string* server) {
  return command
      ->add_option("--server", *server, "Where the server is: unix:/path or tcp:HOST:PORT")
      ->type_name("ENDPOINT")
      ->check(CheckEndpoint);
}

void AddTimeoutOption(CLI::App* command, int* timeout) {
  command
      ->add_option("--timeout", *timeout,
                   "Seconds that the server may take to answer (default " +
                       std::to_string(vesper::cli::kDefaultTimeout) + ")")
      ->type_name("SECONDS")
      ->check(CLI::Range(1, 3600));
}

// Where the program's words begin in `vesper run [OPTIONS] [--] PROGRAM [ARGUMENT...]`: after `--`,
// or at the first word that is neither an option nor the value of one. The parser must not see
// them, since they are not ours to understand.
int FindProgram(const CLI::App& run_command, int argc, char** argv) {
  int i = 2;
  while (i < argc && argv[i][0] == '-') {
    const std::string word = argv[i++];
    if (word == "--") {
      return i;
    }
    const CLI::Option* option = run_command.get_option_no_throw(word);
    if (option != nullptr && option->get_items_expected_max() > 0) {
      ++i;
    }
  }
  return std::min(i, argc);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Runs Vulkan programs on a GPU that is somewhere else.", "vesper"};
  app.set_version_flag("--version", std::string("vesper " VESPER_VERSION),
                       "Print the version and exit");
  app.require_subcommand(1);

  vesper::cli::RunOptions run;
  bool is_verbose = false;
  CLI::App* run_command = app.add_subcommand("run", "Run a program with Vesper as its GPU");
  run_command->footer(
      "The program and its arguments follow the options, after -- if you like:\n"
      "  vesper run [OPTIONS] [--] PROGRAM [ARGUMENT...]\n"
      "Without --server and VESPER_SERVER a server of its own is started for the program's\n"
      "lifetime. The exit status is the program's, or 128 + n if signal n killed it; 125 to 127\n"
      "mean that it was not run.");
  CLI::Option* server = AddServerOption(run_command, &run.server);
  run_command
      ->add_option("--driver", run.private_server.driver,
                   "Manifest of the Vulkan driver that the private server uses")
      ->type_name("ICD.json")
      ->check(CLI::ExistingFile)
      ->excludes(server);
  run_command
      ->add_option("--device", run.private_server.device,
                   "The only device that the private server offers")
      ->type_name("DEVICE")
      ->excludes(server);
  run_command->add_flag("--verbose", is_verbose, "Show the private server's log")->excludes(server);

  vesper::cli::DoctorOptions doctor;
  CLI::App* doctor_command =
      app.add_subcommand("doctor", "Say what is found, what is wrong, and what to do about it");
  doctor_command->footer("The exit status is 0 only if a Vulkan program would run.");
  CLI::Option* doctor_server = AddServerOption(doctor_command, &doctor.server);
  doctor_command
      ->add_option("--driver", doctor.driver,
                   "Manifest of the Vulkan driver for a private server, as in vesper run")
      ->type_name("ICD.json")
      ->check(CLI::ExistingFile)
      ->excludes(doctor_server);
  AddTimeoutOption(doctor_command, &doctor.timeout);

  vesper::cli::PingOptions ping;
  CLI::App* ping_command = app.add_subcommand("ping", "Say whether a server answers");
  ping_command->footer("The exit status is 0 only if it does, and has a device.");
  AddServerOption(ping_command, &ping.server);
  AddTimeoutOption(ping_command, &ping.timeout);

  int own_words = argc;
  if (argc > 1 && std::string_view(argv[1]) == run_command->get_name()) {
    const int program = FindProgram(*run_command, argc, argv);
    run.command.assign(argv + program, argv + argc);
    own_words = program > 2 && std::string_view(argv[program - 1]) == "--" ? program - 1 : program;
  }
  try {
    app.parse(own_words, argv);
    if (run_command->parsed() && run.command.empty()) {
      throw CLI::RequiredError("PROGRAM");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageStatus;
  }
  if (run_command->parsed()) {
    if (is_verbose) {
      run.private_server.log_level = "info";
    }
    return vesper::cli::Run(run);
  }
  return ping_command->parsed() ? vesper::cli::Ping(ping) : vesper::cli::Doctor(doctor);
}
