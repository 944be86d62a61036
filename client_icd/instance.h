// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "client_icd/environment.h"
#include "client_icd/object.h"
#include "client_icd/physical_device.h"
#include "client_icd/session.h"

namespace vesper::client {

/// A VkInstance: owns the session and everything that hangs off it.
class Instance : public Dispatchable {
 public:
  static Instance& From(VkInstance instance) { return *reinterpret_cast<Instance*>(instance); }

  Instance(std::unique_ptr<Session> session, uint32_t api_version,
           std::vector<bool> enabled_extensions, const Allocator& allocator);

  Session& session() { return *session_; }
  bool IsLost() const { return session_->IsLost(); }
  uint32_t api_version() const { return api_version_; }
  bool IsExtensionEnabled(uint16_t index) const { return enabled_extensions_[index]; }
  const Allocator& allocator() const { return allocator_; }
  std::vector<std::unique_ptr<PhysicalDevice>>& physical_devices() { return physical_devices_; }

 private:
  const Allocator allocator_;
  const uint32_t api_version_;
  const std::vector<bool> enabled_extensions_;
  std::unique_ptr<Session> session_;
  std::vector<std::unique_ptr<PhysicalDevice>> physical_devices_;
};

/// vkCreateInstance over a connection that is there already. On failure says why on stderr.
VkResult CreateInstanceOn(std::unique_ptr<transport::Connection> connection,
                          const Environment& environment, const VkInstanceCreateInfo* create_info,
                          const VkAllocationCallbacks* allocator, VkInstance* instance);

}  // namespace vesper::client
