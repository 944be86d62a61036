// SPDX-License-Identifier: Apache-2.0
#include "server/options.h"

#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>

namespace vesper::server {
namespace {

constexpr char kSystemSocket[] = "/run/vesper/vesper.sock";
constexpr char kUserSocketName[] = "vesper.sock";

// Exit status after a mistake on the command line, as most tools have it.
constexpr int kUsageStatus = 2;

constexpr char kFooter[] =
    "An endpoint is unix:/path/to/socket, tcp:HOST:PORT or vsock:CID:PORT. Without --listen it is\n"
    "unix:/run/vesper/vesper.sock for root, and unix:$XDG_RUNTIME_DIR/vesper.sock for others.\n"
    "Programs find the server by the environment variable VESPER_SERVER=ENDPOINT.";

std::string CheckEndpoint(const std::string& text) {
  std::string error;
  transport::Endpoint::Parse(text, &error);
  return error;
}

// An empty sentence means that `text` is a good mode, which is then in `*mode`.
std::string ParseMode(const std::string& text, unsigned* mode) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), *mode, 8);
  if (status != std::errc() || end != text.data() + text.size() || *mode > 0777) {
    return "\"" + text + "\" is no mode; write it in octal, as in 0660";
  }
  return "";
}

}  // namespace

std::optional<Options> ParseOptions(int argc, const char* const* argv, int* status) {
  Options options;
  std::vector<std::string> endpoints;
  std::string mode = "0600";
  std::string reading = "auto";
  std::string sharing = "auto";
  std::string rings = "auto";
  std::string progress = "page";
  std::string spinning = "auto";
  const std::string version = "vesperd " VESPER_VERSION;

  CLI::App app{"vesperd lets programs elsewhere use the Vulkan devices of this machine.",
               "vesperd"};
  app.footer(kFooter);
  app.set_version_flag("--version", version, "Print the version and exit");
  app.add_option("--listen", endpoints, "Where to wait for guests; may be given several times")
      ->type_name("ENDPOINT")
      ->check(CheckEndpoint)
      ->expected(1)
      ->take_all();
  app.add_flag("--allow-plaintext", options.allow_plaintext,
               "Allow TCP endpoints that other machines can reach: whoever reaches them may use "
               "the devices, and what passes is neither encrypted nor protected");
  app.add_option("--socket-mode", mode, "Permissions of Unix sockets, in octal (default 0600)")
      ->type_name("MODE")
      ->check([](const std::string& text) {
        unsigned ignored = 0;
        return ParseMode(text, &ignored);
      });
  app.add_option("--driver", options.worker.driver_manifest,
                 "Manifest of the Vulkan driver to use (default: what the Vulkan loader finds)")
      ->type_name("ICD.json")
      ->check(CLI::ExistingFile);
  app.add_option("--device", options.worker.device_selector,
                 "Offer only this device: its number, UUID or a part of its name")
      ->type_name("DEVICE");
  app.add_option("--read-memory", reading,
                 "Who looks for what the device changed in its memory (default auto: the GPU, "
                 "where it is slow for the CPU)")
      ->type_name("WHO")
      ->check(CLI::IsMember({"auto", "gpu", "cpu"}));
  app.add_option("--share-memory", sharing,
                 "Whether guests on this machine may share pages with their device (default auto: "
                 "where the driver can import them)")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"auto", "never"}));
  app.add_option("--rings", rings,
                 "Whether commands of guests on this machine may pass through memory that both "
                 "share (default auto: if the guest offers some)")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"auto", "never"}));
  app.add_option("--progress", progress,
                 "How guests with shared rings hear how far queues have come (default page: they "
                 "look at memory that both share)")
      ->type_name("HOW")
      ->check(CLI::IsMember({"page", "push"}));
  app.add_option("--spin", spinning,
                 "Whether threads that wait look around for some microseconds before they sleep "
                 "(default auto: if it helps, and there are more than two processors)")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"auto", "never"}));
  app.add_option(
         "--threads", options.worker.threads,
         "Threads of a session that compile pipelines and replay command buffers beside its "
         "other commands; 0 does everything in order (default: one for each core, 2 to 8)")
      ->type_name("N")
      ->check(CLI::Range(0, 64));
  app.add_option(
         "--upload-cache", options.worker.upload_cache_mebibytes,
         "MiB of what each session uploads that are kept, so that it need not send the same "
         "again over a slow link (default 64; 0 keeps nothing)")
      ->type_name("MIB")
      ->check(CLI::Range(0, 1 << 16));
  app.add_option("--upload-archive", options.worker.upload_archive,
                 "Folder in which uploads are kept for later sessions of guests that ask for it "
                 "(VESPER_UPLOAD_ARCHIVE=on there; default: nothing is)")
      ->type_name("FOLDER");
  app.add_option("--upload-archive-limit", options.worker.upload_archive_mebibytes,
                 "MiB that the folder may take; what was not used for longest goes (default 1024)")
      ->type_name("MIB")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option(
         "--max-sessions", options.max_sessions,
         "Guests served at the same time (default " + std::to_string(kDefaultMaxSessions) + ")")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--log-level", options.log_level, "How much to log on stderr (default info)")
      ->type_name("LEVEL")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}));

  // How the front starts its workers; nobody else uses these, so --help leaves them out.
  app.add_option("--worker-fd", options.worker_fd)->group("");
  app.add_option("--front-pid", options.front_pid)->group("");
  app.add_option("--line-session", options.line_session)->group("");
  app.add_option("--peer", options.worker.peer)->group("");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    *status = app.exit(error) == 0 ? 0 : kUsageStatus;
    return std::nullopt;
  }
  ParseMode(mode, &options.socket_mode);
  options.worker.memory_reading = reading == "gpu"   ? MemoryReading::kGpu
                                  : reading == "cpu" ? MemoryReading::kCpu
                                                     : MemoryReading::kAuto;
  options.worker.share_memory = sharing == "auto";
  options.worker.use_rings = rings == "auto";
  options.worker.use_progress_page = progress == "page";
  options.worker.spinning =
      spinning == "auto" ? transport::Spinning::kAuto : transport::Spinning::kNever;
  for (const std::string& text : endpoints) {
    std::string ignored;
    options.endpoints.push_back(*transport::Endpoint::Parse(text, &ignored));
  }
  return options;
}

std::optional<transport::Endpoint> DefaultEndpoint(std::string* error) {
  transport::Endpoint endpoint;
  endpoint.kind = transport::Endpoint::Kind::kUnix;
  if (::geteuid() == 0) {
    endpoint.path = kSystemSocket;
    return endpoint;
  }
  const char* folder = ::getenv("XDG_RUNTIME_DIR");
  if (folder == nullptr || *folder == '\0') {
    *error =
        "there is no default place to listen, since XDG_RUNTIME_DIR is not set; name one with "
        "--listen";
    return std::nullopt;
  }
  endpoint.path = std::string(folder) + "/" + kUserSocketName;
  return endpoint;
}

}  // namespace vesper::server
