// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "server/host_tables_gen.h"

namespace vesper::server {

/// How the worker executes a command that needs no special care: the generated call of the driver,
/// through an Args struct. False if the driver does not have the command.
using InvokeOnInstance = bool (*)(const InstanceTable& table, void* args);
using InvokeOnDevice = bool (*)(const DeviceTable& table, void* args);

/// What a recorded command may write (policy.toml, [[writes]]).
enum class Writes : uint8_t {
  kNothing,
  kExact,        // what its arguments name; recorded_writes.cpp knows
  kDescriptors,  // nothing; but it says through which descriptors shaders do
  kShaders,      // whatever shaders can write
  kEverything,   // whatever the device can write
};

struct HostCommand {
  InvokeOnInstance on_instance;  // null: see on_device
  InvokeOnDevice on_device;      // null as well: hand-written, or not for the host
  bool observes_memory;          // what the device wrote is pushed before the reply
  Writes writes;                 // nothing, if the command is not recorded
  bool from_guest;               // a guest may send it
  uint32_t result_offset;        // of the VkResult in the Args struct; 0: none
};

/// By wire number; null if there is no such number.
const HostCommand* FindHostCommand(uint16_t number);

}  // namespace vesper::server
