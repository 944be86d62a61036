// SPDX-License-Identifier: Apache-2.0
#include "cli/vulkan_checks.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <vulkan/vk_icd.h>
#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "cli/experiment.h"
#include "cli/installation.h"

namespace vesper::cli {
namespace {

using std::chrono::seconds;

constexpr char kLoader[] = "libvulkan.so.1";

// Loading a library, and asking a server through it. A server that has to wake a GPU first may take
// some seconds.
constexpr seconds kLoadLimit{20};
constexpr seconds kProgramLimit{60};

// The loader-driver interface that Vesper's driver is written for.
constexpr uint32_t kWantedInterface = 7;

constexpr size_t kMaxDevices = 64;

std::string VersionText(uint32_t version) {
  return std::to_string(VK_API_VERSION_MAJOR(version)) + "." +
         std::to_string(VK_API_VERSION_MINOR(version)) + "." +
         std::to_string(VK_API_VERSION_PATCH(version));
}

std::string LastLoadError() {
  const char* text = ::dlerror();
  return text == nullptr ? "the library cannot be loaded" : text;
}

template <class Function>
Function Find(void* library, const char* name) {
  return reinterpret_cast<Function>(::dlsym(library, name));
}

// Text that came from elsewhere, as a part of one line.
std::string OneLine(std::string text) {
  while (!text.empty() && text.back() == '\n') {
    text.pop_back();
  }
  for (char& c : text) {
    c = c == '\n' ? ';' : (static_cast<unsigned char>(c) < ' ' ? '?' : c);
  }
  return text;
}

bool LoadLoader(std::string* text) {
  void* library = ::dlopen(kLoader, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *text = LastLoadError();
    return false;
  }
  const auto enumerate_version =
      Find<PFN_vkEnumerateInstanceVersion>(library, "vkEnumerateInstanceVersion");
  uint32_t version = VK_API_VERSION_1_0;
  if (enumerate_version != nullptr) {
    enumerate_version(&version);
  }
  *text = VersionText(version);
  return true;
}

// Loads a driver as the loader does, up to the first question it asks.
bool LoadDriver(const std::string& path, std::string* text) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *text = LastLoadError();
    return false;
  }
  const auto negotiate = Find<PFN_vkNegotiateLoaderICDInterfaceVersion>(
      library, "vk_icdNegotiateLoaderICDInterfaceVersion");
  const auto get_function = Find<PFN_vkGetInstanceProcAddr>(library, "vk_icdGetInstanceProcAddr");
  if (negotiate == nullptr || get_function == nullptr) {
    *text = "it lacks the functions that every Vulkan driver has";
    return false;
  }
  uint32_t version = kWantedInterface;
  if (negotiate(&version) != VK_SUCCESS || version < 2) {
    *text = "it does not agree with the loader on an interface version";
    return false;
  }
  if (get_function(nullptr, "vkCreateInstance") == nullptr) {
    *text = "it cannot create instances";
    return false;
  }
  *text = std::to_string(version);
  return true;
}

// The library that a manifest names; nothing if there is something wrong, which was then reported.
std::optional<std::string> ReadManifest(const std::string& manifest, Report& report) {
  std::ifstream file(manifest);
  if (!file) {
    report.Add(Verdict::kBad, "the manifest " + manifest + " is not there or not readable",
               "install Vesper's guest driver beside this program, or build it");
    return std::nullopt;
  }
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, false);
  const nlohmann::json empty;
  const nlohmann::json& driver = json.is_object() && json.contains("ICD") ? json["ICD"] : empty;
  if (!driver.is_object() || !driver.contains("library_path") ||
      !driver["library_path"].is_string()) {
    report.Add(Verdict::kBad,
               "the manifest " + manifest + " is damaged: " +
                   (json.is_discarded() ? "it is not JSON" : "it has no ICD.library_path"),
               "install Vesper's guest driver again");
    return std::nullopt;
  }
  const std::string version = driver.value("api_version", nlohmann::json("none")).dump();
  report.Add(Verdict::kGood, "manifest " + manifest + ", api_version " + version);
  const std::string library = driver["library_path"];
  const bool is_in_search_path = library.find('/') == std::string::npos;
  return is_in_search_path ? library
                           : (std::filesystem::path(manifest).parent_path() / library)
                                 .lexically_normal()
                                 .string();
}

std::vector<std::string> Split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const size_t colon = std::min(list.find(':'), list.size());
    parts.emplace_back(list.substr(0, colon));
    list.remove_prefix(std::min(colon + 1, list.size()));
  }
  return parts;
}

std::string Variable(const char* name, const std::string& otherwise) {
  return HasVariable(name) ? ::getenv(name) : otherwise;
}

// The folders in which loaders look for manifests by themselves.
std::vector<std::filesystem::path> ManifestFolders() {
  const std::string home = Variable("HOME", "");
  std::string bases = Variable("XDG_CONFIG_HOME", home + "/.config") + ":" +
                      Variable("XDG_CONFIG_DIRS", "/etc/xdg") +
                      ":/etc:" + Variable("XDG_DATA_HOME", home + "/.local/share") + ":" +
                      Variable("XDG_DATA_DIRS", "/usr/local/share:/usr/share");
  std::vector<std::filesystem::path> folders;
  for (const std::string& base : Split(bases)) {
    folders.push_back(std::filesystem::path(base) / "vulkan/icd.d");
  }
  return folders;
}

bool IsSameFile(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code ignored;
  return std::filesystem::equivalent(a, b, ignored);
}

void CheckDiscovery(const std::string& manifest, Report& report) {
  const std::string advice = "use `vesper run`, or set VK_DRIVER_FILES=" + manifest;
  for (const char* name : {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"}) {
    if (!HasVariable(name)) {
      continue;
    }
    const std::vector<std::string> files = Split(::getenv(name));
    const bool is_named = std::any_of(files.begin(), files.end(), [&](const std::string& file) {
      return IsSameFile(file, manifest);
    });
    report.Add(is_named ? Verdict::kGood : Verdict::kMissing,
               std::string(name) +
                   (is_named ? " names this driver" : " names other drivers and so hides this one"),
               is_named ? "" : advice);
    return;
  }
  const std::filesystem::path folder = std::filesystem::path(manifest).parent_path();
  const std::vector<std::filesystem::path> folders = ManifestFolders();
  const bool is_found = std::any_of(folders.begin(), folders.end(), [&](const auto& candidate) {
    return IsSameFile(candidate, folder);
  });
  if (is_found) {
    report.Add(Verdict::kGood, "programs find this driver by themselves");
  } else {
    report.Add(Verdict::kMissing, "programs do not find this driver by themselves", advice);
  }
}

// Creates an instance as any program does, and lists its devices, one on a line.
bool ListDevices(const std::string& manifest, const std::string& endpoint, std::string* text) {
  ::setenv("VESPER_SERVER", endpoint.c_str(), 1);
  ::setenv("VK_DRIVER_FILES", manifest.c_str(), 1);
  ::setenv("VK_ICD_FILENAMES", manifest.c_str(), 1);
  // Layers are another matter, and may print or fail for reasons of their own.
  ::setenv("VK_LOADER_LAYERS_DISABLE", "~all~", 1);
  ::unsetenv("VK_INSTANCE_LAYERS");
  void* library = ::dlopen(kLoader, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *text = LastLoadError();
    return false;
  }
  const auto get_function = Find<PFN_vkGetInstanceProcAddr>(library, "vkGetInstanceProcAddr");
  const auto create_instance =
      reinterpret_cast<PFN_vkCreateInstance>(get_function(nullptr, "vkCreateInstance"));
  VkApplicationInfo application{};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  application.pApplicationName = "vesper doctor";
  application.apiVersion = VK_API_VERSION_1_1;
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &application;
  VkInstance instance = VK_NULL_HANDLE;
  const VkResult created = create_instance(&info, nullptr, &instance);
  if (created != VK_SUCCESS) {
    *text = "vkCreateInstance returned " + std::to_string(created);
    return false;
  }
  const auto enumerate = reinterpret_cast<PFN_vkEnumeratePhysicalDevices>(
      get_function(instance, "vkEnumeratePhysicalDevices"));
  const auto get_properties = reinterpret_cast<PFN_vkGetPhysicalDeviceProperties>(
      get_function(instance, "vkGetPhysicalDeviceProperties"));
  std::array<VkPhysicalDevice, kMaxDevices> devices{};
  auto count = static_cast<uint32_t>(devices.size());
  const VkResult listed = enumerate(instance, &count, devices.data());
  if (listed < 0 || count == 0) {
    *text = listed < 0 ? "vkEnumeratePhysicalDevices returned " + std::to_string(listed)
                       : "there is no device";
    return false;
  }
  for (uint32_t i = 0; i < count; ++i) {
    VkPhysicalDeviceProperties properties{};
    get_properties(devices[i], &properties);
    *text += std::string(i == 0 ? "" : ", ") + properties.deviceName + " (Vulkan " +
             VersionText(properties.apiVersion) + ")";
  }
  return true;
}

}  // namespace

void CheckLoader(Report& report) {
  const ExperimentResult loader = RunExperiment(LoadLoader, kLoadLimit);
  if (loader.succeeded) {
    report.Add(Verdict::kGood,
               std::string(kLoader) + " loads and knows Vulkan " + OneLine(loader.text));
  } else {
    report.Add(Verdict::kBad, std::string(kLoader) + " does not load: " + OneLine(loader.text),
               "install the Vulkan loader (Debian's package libvulkan1)");
  }
}

void CheckGuestDriver(const std::string& manifest, Report& report) {
  const std::optional<std::string> library = ReadManifest(manifest, report);
  if (!library) {
    return;
  }
  const ExperimentResult driver =
      RunExperiment([&](std::string* text) { return LoadDriver(*library, text); }, kLoadLimit);
  if (driver.succeeded) {
    report.Add(Verdict::kGood,
               "driver " + *library + " loads, loader interface " + OneLine(driver.text));
  } else {
    report.Add(Verdict::kBad, "the driver " + *library + " does not work: " + OneLine(driver.text),
               "install Vesper's guest driver again, for this machine's architecture");
  }
  CheckDiscovery(manifest, report);
}

void CheckProgramView(const std::string& manifest, const std::string& endpoint, Report& report) {
  const ExperimentResult view = RunExperiment(
      [&](std::string* text) { return ListDevices(manifest, endpoint, text); }, kProgramLimit);
  if (view.succeeded) {
    report.Add(Verdict::kGood, "a program gets an instance and finds " + OneLine(view.text));
  } else {
    report.Add(Verdict::kBad, "a program gets no device: " + OneLine(view.text),
               "mend what is marked FAIL above; if nothing is, see the server's log");
  }
}

}  // namespace vesper::cli
