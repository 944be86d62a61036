// SPDX-License-Identifier: Apache-2.0
//
// VkInstance. Making one is what connects to the server: the set-up brings a snapshot of all
// devices, so that nothing below it, down to vkCreateDevice, costs a round trip.
#include "client_icd/instance.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <exception>

#include "client_icd/entry_points_gen.h"
#include "client_icd/proc_table.h"
#include "client_icd/write_tracker.h"
#include "transport/endpoint.h"
#include "transport/stream.h"

namespace vesper::client {
namespace {

constexpr std::chrono::milliseconds kConnectTimeout{10'000};
/// Set-up includes the host's loading of its driver, which takes seconds on a busy machine.
constexpr std::chrono::milliseconds kSetupTimeout{20'000};

proto::Hello MakeHello(const VkInstanceCreateInfo& create_info, const Environment& environment) {
  proto::Hello hello;
  MemoryTier tier = MemoryTier::kAsync;
  hello.compare_all_memory =
      TierFromName(environment.memory, &tier) && tier == MemoryTier::kReference;
  hello.compression = environment.compression;
  hello.always_compress = environment.always_compress;
  hello.page_size = static_cast<uint32_t>(::sysconf(_SC_PAGESIZE));
  hello.pid = static_cast<uint64_t>(::getpid());
  hello.program = program_invocation_short_name;
  hello.api_version = VK_API_VERSION_1_0;
  if (const VkApplicationInfo* info = create_info.pApplicationInfo) {
    hello.application_version = info->applicationVersion;
    hello.engine_version = info->engineVersion;
    hello.api_version = info->apiVersion == 0 ? VK_API_VERSION_1_0 : info->apiVersion;
    const auto copy = [](const char* text) {
      return text == nullptr ? std::string() : std::string(text).substr(0, 255);
    };
    hello.application_name = copy(info->pApplicationName);
    hello.engine_name = copy(info->pEngineName);
  }
  hello.command_hashes = proto::CommandHashes();
  hello.struct_hashes = proto::StructHashes();
  for (const proto::ExtensionInfo& extension : proto::Extensions()) {
    if (!extension.is_guest) {
      hello.extensions.emplace_back(extension.name);
    }
  }
  return hello;
}

VkResult ConnectAndCreate(const VkInstanceCreateInfo* create_info,
                          const VkAllocationCallbacks* allocator, VkInstance* instance) {
  const Environment environment = Environment::Read();
  std::string error;
  const auto endpoint = transport::Endpoint::Parse(environment.server, &error);
  if (!endpoint) {
    Say("VESPER_SERVER: " + error);
    return VK_ERROR_INITIALIZATION_FAILED;
  }
  std::unique_ptr<transport::Connection> connection =
      transport::Connect(*endpoint, kConnectTimeout, &error);
  if (connection == nullptr) {
    Say(error + " (start vesperd there, or set VESPER_SERVER; `vesper doctor` tells more)");
    return VK_ERROR_INITIALIZATION_FAILED;
  }
  return CreateInstanceOn(std::move(connection), environment, create_info, allocator, instance);
}

}  // namespace

Instance::Instance(std::unique_ptr<Session> session, uint32_t api_version,
                   std::vector<bool> enabled_extensions, const Allocator& allocator)
    : Dispatchable(proto::MakeObjectId(proto::HandleType::kInstance, 1, 0)),
      allocator_(allocator),
      api_version_(api_version),
      enabled_extensions_(std::move(enabled_extensions)),
      session_(std::move(session)) {
  for (const proto::PhysicalDeviceSnapshot& device : session_->snapshot().devices) {
    physical_devices_.push_back(std::make_unique<PhysicalDevice>(*this, device));
  }
}

VkResult CreateInstanceOn(std::unique_ptr<transport::Connection> connection,
                          const Environment& environment, const VkInstanceCreateInfo* create_info,
                          const VkAllocationCallbacks* callbacks, VkInstance* instance) {
  std::vector<bool> enabled(proto::Extensions().size(), false);
  for (uint32_t i = 0; i < create_info->enabledExtensionCount; ++i) {
    const int index = proto::ExtensionIndex(create_info->ppEnabledExtensionNames[i]);
    if (index < 0 || !proto::Extensions()[static_cast<size_t>(index)].is_instance) {
      return VK_ERROR_EXTENSION_NOT_PRESENT;
    }
    enabled[static_cast<size_t>(index)] = true;
  }
  const proto::Hello hello = MakeHello(*create_info, environment);
  std::string error;
  const std::string peer = connection->Peer();
  std::unique_ptr<Session> session =
      Session::Open(std::move(connection), hello, environment, kSetupTimeout, &error);
  if (session == nullptr) {
    Say(environment.server + ": " + error);
    return VK_ERROR_INITIALIZATION_FAILED;
  }
  if (environment.debug_log) {
    Say("connected to " + peer + ", " + std::to_string(session->snapshot().devices.size()) +
        " device(s)");
  }
  const Allocator allocator(callbacks);
  Instance* object =
      allocator.New<Instance>(VK_SYSTEM_ALLOCATION_SCOPE_INSTANCE, std::move(session),
                              hello.api_version, std::move(enabled), allocator);
  if (object == nullptr) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  }
  *instance = reinterpret_cast<VkInstance>(object);
  return VK_SUCCESS;
}

namespace entry {

VKAPI_ATTR VkResult VKAPI_CALL vkCreateInstance(const VkInstanceCreateInfo* pCreateInfo,
                                                const VkAllocationCallbacks* pAllocator,
                                                VkInstance* pInstance) {
  *pInstance = VK_NULL_HANDLE;
  // The one place where a thread is started, so the one where more than memory may be refused.
  try {
    return ConnectAndCreate(pCreateInfo, pAllocator, pInstance);
  } catch (const std::bad_alloc&) {
    return VK_ERROR_OUT_OF_HOST_MEMORY;
  } catch (const std::exception& exception) {
    Say(std::string("expected the system to give a thread for the session, got: ") +
        exception.what() + "; raise the process's limits");
    return VK_ERROR_INITIALIZATION_FAILED;
  }
}

VKAPI_ATTR void VKAPI_CALL vkDestroyInstance(VkInstance instance, const VkAllocationCallbacks*) {
  if (instance != VK_NULL_HANDLE) {
    Instance& object = Instance::From(instance);
    const Allocator allocator = object.allocator();
    allocator.Delete(&object);
  }
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateInstanceVersion(uint32_t* pApiVersion) {
  *pApiVersion = VK_HEADER_VERSION_COMPLETE;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateInstanceExtensionProperties(
    const char* pLayerName, uint32_t* pPropertyCount, VkExtensionProperties* pProperties) {
  if (pLayerName != nullptr) {
    *pPropertyCount = 0;
    return VK_ERROR_LAYER_NOT_PRESENT;
  }
  std::vector<VkExtensionProperties> offered;
  for (const proto::ExtensionInfo& extension : proto::Extensions()) {
    if (extension.is_instance) {
      VkExtensionProperties properties{};
      std::strncpy(properties.extensionName, extension.name, VK_MAX_EXTENSION_NAME_SIZE - 1);
      properties.specVersion = extension.spec_version;
      offered.push_back(properties);
    }
  }
  return CopyOut(offered, pPropertyCount, pProperties);
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateInstanceLayerProperties(uint32_t* pPropertyCount,
                                                                  VkLayerProperties*) {
  *pPropertyCount = 0;
  return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumeratePhysicalDevices(VkInstance instance,
                                                          uint32_t* pPhysicalDeviceCount,
                                                          VkPhysicalDevice* pPhysicalDevices) {
  std::vector<VkPhysicalDevice> devices;
  for (const auto& device : Instance::From(instance).physical_devices()) {
    devices.push_back(reinterpret_cast<VkPhysicalDevice>(device.get()));
  }
  return CopyOut(devices, pPhysicalDeviceCount, pPhysicalDevices);
}

VKAPI_ATTR VkResult VKAPI_CALL
vkEnumeratePhysicalDeviceGroups(VkInstance instance, uint32_t* pPhysicalDeviceGroupCount,
                                VkPhysicalDeviceGroupProperties* pPhysicalDeviceGroupProperties) {
  Instance& object = Instance::From(instance);
  const std::vector<proto::PhysicalDeviceGroup>& groups = object.session().snapshot().groups;
  const uint32_t available = static_cast<uint32_t>(groups.size());
  if (pPhysicalDeviceGroupProperties == nullptr) {
    *pPhysicalDeviceGroupCount = available;
    return VK_SUCCESS;
  }
  const uint32_t count = std::min(*pPhysicalDeviceGroupCount, available);
  for (uint32_t i = 0; i < count; ++i) {
    VkPhysicalDeviceGroupProperties& out = pPhysicalDeviceGroupProperties[i];
    out.physicalDeviceCount = static_cast<uint32_t>(groups[i].devices.size());
    out.subsetAllocation = groups[i].subset_allocation ? VK_TRUE : VK_FALSE;
    for (uint32_t device = 0; device < out.physicalDeviceCount; ++device) {
      out.physicalDevices[device] = reinterpret_cast<VkPhysicalDevice>(
          object.physical_devices()[groups[i].devices[device]].get());
    }
  }
  *pPhysicalDeviceGroupCount = count;
  return count < available ? VK_INCOMPLETE : VK_SUCCESS;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance,
                                                               const char* pName) {
  const Proc* proc = pName == nullptr ? nullptr : FindProc(pName);
  if (proc == nullptr) {
    return nullptr;
  }
  if (proc->level == ProcLevel::kGlobal || std::strcmp(pName, "vkGetInstanceProcAddr") == 0) {
    return proc->function();
  }
  if (instance == VK_NULL_HANDLE) {
    return nullptr;
  }
  Instance& object = Instance::From(instance);
  // Commands of device extensions are offered as soon as a device might enable them.
  const bool provided = IsProvided(*proc, VK_HEADER_VERSION_COMPLETE, [&](uint16_t extension) {
    return !proto::Extensions()[extension].is_instance || object.IsExtensionEnabled(extension);
  });
  return provided ? proc->function() : nullptr;
}

}  // namespace entry
}  // namespace vesper::client
