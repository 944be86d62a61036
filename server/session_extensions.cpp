// SPDX-License-Identifier: Apache-2.0
//
// The session's hand-written commands: those of extensions. What the guest sends is checked where
// a driver would take it as an index or as a size; what a driver says about sizes is held to what
// there is room for before it becomes an answer.
#include <algorithm>
#include <cstring>

#include "server/chain.h"
#include "server/session.h"

namespace vesper::server {
namespace {

namespace number = proto::command_number;

/// Bytes of one element; 8, the largest, for those that this build does not know.
uint64_t ComponentBytes(VkComponentTypeKHR type) {
  switch (type) {
    case VK_COMPONENT_TYPE_SINT8_KHR:
    case VK_COMPONENT_TYPE_UINT8_KHR:
    case VK_COMPONENT_TYPE_SINT8_PACKED_NV:
    case VK_COMPONENT_TYPE_UINT8_PACKED_NV:
    case VK_COMPONENT_TYPE_FLOAT_E4M3_NV:
    case VK_COMPONENT_TYPE_FLOAT_E5M2_NV:
      return 1;
    case VK_COMPONENT_TYPE_FLOAT16_KHR:
    case VK_COMPONENT_TYPE_SINT16_KHR:
    case VK_COMPONENT_TYPE_UINT16_KHR:
      return 2;
    case VK_COMPONENT_TYPE_FLOAT32_KHR:
    case VK_COMPONENT_TYPE_SINT32_KHR:
    case VK_COMPONENT_TYPE_UINT32_KHR:
      return 4;
    default:
      return 8;
  }
}

struct MatrixSide {
  VkComponentTypeKHR type;
  VkCooperativeVectorMatrixLayoutNV layout;
  uint64_t stride;
};

/// Bytes that a matrix reaches over. What the driver's own layouts take is the driver's to say.
/// Nothing if it is more than there can be.
std::optional<uint64_t> MatrixExtent(HostDevice& device,
                                     const VkConvertCooperativeVectorMatrixInfoNV& info,
                                     const MatrixSide& side) {
  if (info.numRows == 0 || info.numColumns == 0) {
    return 0;
  }
  const bool by_rows = side.layout == VK_COOPERATIVE_VECTOR_MATRIX_LAYOUT_ROW_MAJOR_NV;
  if (by_rows || side.layout == VK_COOPERATIVE_VECTOR_MATRIX_LAYOUT_COLUMN_MAJOR_NV) {
    const uint64_t lines = by_rows ? info.numRows : info.numColumns;
    const uint64_t elements = by_rows ? info.numColumns : info.numRows;
    uint64_t extent = 0;
    if (__builtin_mul_overflow(lines - 1, side.stride, &extent) ||
        __builtin_add_overflow(extent, elements * ComponentBytes(side.type), &extent)) {
      return std::nullopt;
    }
    return extent;
  }
  VkConvertCooperativeVectorMatrixInfoNV same = info;
  size_t bytes = 0;
  same.srcData = {};
  same.dstData = {};
  same.pDstSize = &bytes;
  same.srcComponentType = same.dstComponentType = side.type;
  same.srcLayout = same.dstLayout = side.layout;
  same.srcStride = same.dstStride = side.stride;
  if (device.table().vkConvertCooperativeVectorMatrixNV(device.handle(), &same) != VK_SUCCESS) {
    return std::nullopt;
  }
  return bytes;
}

/// The pipeline that a command describes, in the chain where drivers look for it.
class PipelineDescription {
 public:
  template <typename Args>
  explicit PipelineDescription(const Args& args) {
    const void* const infos[] = {args.pGraphics, args.pCompute, args.pRayTracing};
    for (const void* info : infos) {
      if (info != nullptr) {
        create_info_.pNext = const_cast<void*>(info);
        ++count_;
      }
    }
  }

  bool IsUnique() const { return count_ <= 1; }
  const VkPipelineCreateInfoKHR* get() const { return count_ == 0 ? nullptr : &create_info_; }

 private:
  VkPipelineCreateInfoKHR create_info_{VK_STRUCTURE_TYPE_PIPELINE_CREATE_INFO_KHR, nullptr};
  int count_ = 0;
};

}  // namespace

std::optional<bool> Session::RunExtension(Context& context, HostDevice& device, uint16_t command,
                                          void* args) {
  const DeviceTable& vk = device.table();
  switch (command) {
    case number::vkCreateQueryPool:
      return CreateQueryPool(device, *static_cast<proto::Args_vkCreateQueryPool*>(args));
    case number::vkDestroyQueryPool: {
      const auto& a = *static_cast<proto::Args_vkDestroyQueryPool*>(args);
      device.query_results().Remove(a.queryPool);
      device.resources().Remove(a.queryPool);
      vk.vkDestroyQueryPool(a.device, a.queryPool, nullptr);
      return true;
    }
    case number::vkResetQueryPool: {
      const auto& a = *static_cast<proto::Args_vkResetQueryPool*>(args);
      device.query_results().Reset(a.queryPool, a.firstQuery, a.queryCount);
      return true;
    }
    case number::vkDestroyEvent: {
      const auto& a = *static_cast<proto::Args_vkDestroyEvent*>(args);
      device.watched_events().Remove(a.event);
      vk.vkDestroyEvent(a.device, a.event, nullptr);
      return true;
    }
    case number::vkSetEvent: {
      auto& a = *static_cast<proto::Args_vkSetEvent*>(args);
      if (GpuReader* reader = device.reader()) {
        reader->Refresh();
      }
      a.ret = device.watched_events().Set(a.event);
      return true;
    }
    case number::vkResetEvent: {
      auto& a = *static_cast<proto::Args_vkResetEvent*>(args);
      a.ret = device.watched_events().Reset(a.event);
      return true;
    }
    case number::vesperLookAtEvent: {
      const auto& a = *static_cast<proto::Args_vesperLookAtEvent*>(args);
      if (proto::ObjectTypeByte(a.event) != static_cast<uint8_t>(proto::HandleType::kEvent)) {
        return false;
      }
      if (objects_.DeviceOf(a.event) == &device) {
        device.watched_events().Look(reinterpret_cast<VkEvent>(objects_.Handle(a.event)), a.event,
                                     a.changes);
      }
      return true;
    }
    case number::vesperWatchQueries: {
      const auto& a = *static_cast<proto::Args_vesperWatchQueries*>(args);
      if (proto::ObjectTypeByte(a.queryPool) !=
          static_cast<uint8_t>(proto::HandleType::kQueryPool)) {
        return false;
      }
      if (objects_.DeviceOf(a.queryPool) == &device) {
        device.query_results().Watch(reinterpret_cast<VkQueryPool>(objects_.Handle(a.queryPool)),
                                     a.queryPool);
      }
      return true;
    }
    case number::vesperLookAtQueries: {
      const auto& a = *static_cast<proto::Args_vesperLookAtQueries*>(args);
      if (proto::ObjectTypeByte(a.queryPool) !=
          static_cast<uint8_t>(proto::HandleType::kQueryPool)) {
        return false;
      }
      if (objects_.DeviceOf(a.queryPool) == &device) {
        const auto pool = reinterpret_cast<VkQueryPool>(objects_.Handle(a.queryPool));
        device.LookAtQueries(pool, a.firstQuery, a.queryCount);
        const std::unique_lock answering = device.query_results().Lock();
        device.query_results().Answer(pool);
      }
      return true;
    }
    case number::vkGetCalibratedTimestampsKHR: {
      auto& a = *static_cast<proto::Args_vkGetCalibratedTimestampsKHR*>(args);
      const auto is_device = [](const VkCalibratedTimestampInfoKHR& info) {
        return info.timeDomain == VK_TIME_DOMAIN_DEVICE_KHR;
      };
      // The host's own clocks are nobody else's business.
      if (vk.vkGetCalibratedTimestampsKHR == nullptr || a.pTimestamps == nullptr ||
          !std::all_of(a.pTimestampInfos, a.pTimestampInfos + a.timestampCount, is_device)) {
        return false;
      }
      a.ret = vk.vkGetCalibratedTimestampsKHR(a.device, a.timestampCount, a.pTimestampInfos,
                                              a.pTimestamps, a.pMaxDeviation);
      return true;
    }
    case number::vkAcquireProfilingLockKHR: {
      auto& a = *static_cast<proto::Args_vkAcquireProfilingLockKHR*>(args);
      if (vk.vkAcquireProfilingLockKHR == nullptr) {
        return false;
      }
      VkAcquireProfilingLockInfoKHR info = *a.pInfo;
      info.timeout = 0;  // the stream never waits
      a.ret = vk.vkAcquireProfilingLockKHR(a.device, &info);
      return true;
    }
    case number::vkGetPipelineBinaryDataKHR:
      return GetPipelineBinaryData(device,
                                   *static_cast<proto::Args_vkGetPipelineBinaryDataKHR*>(args));
    case number::vesperCreatePipelineBinaries:
      return CreatePipelineBinaries(device,
                                    *static_cast<proto::Args_vesperCreatePipelineBinaries*>(args));
    case number::vesperGetPipelineKey:
      return GetPipelineKey(device, *static_cast<proto::Args_vesperGetPipelineKey*>(args));
    case number::vesperGetDeviceFaultInfo:
      return GetDeviceFaultInfo(device, *static_cast<proto::Args_vesperGetDeviceFaultInfo*>(args));
    case number::vesperConvertCooperativeVectorMatrix:
      return ConvertCooperativeVectorMatrix(
          context, device, *static_cast<proto::Args_vesperConvertCooperativeVectorMatrix*>(args));
    default:
      return std::nullopt;
  }
}

// -- pipeline binaries ----------------------------------------------------------------------------

bool Session::CreatePipelineBinaries(HostDevice& device,
                                     proto::Args_vesperCreatePipelineBinaries& args) {
  const PipelineDescription description(args);
  const auto has_long_key = [](const VkPipelineBinaryKeyKHR& key) {
    return key.keySize > sizeof(key.key);
  };
  if (device.table().vkCreatePipelineBinariesKHR == nullptr || !description.IsUnique() ||
      (args.pKeysAndData != nullptr && args.pKeysAndData->pPipelineBinaryKeys != nullptr &&
       std::any_of(args.pKeysAndData->pPipelineBinaryKeys,
                   args.pKeysAndData->pPipelineBinaryKeys + args.pKeysAndData->binaryCount,
                   has_long_key))) {
    return false;
  }
  const VkPipelineBinaryCreateInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_BINARY_CREATE_INFO_KHR,
                                           nullptr, args.pKeysAndData, args.pipeline,
                                           description.get()};
  VkPipelineBinaryHandlesInfoKHR binaries{VK_STRUCTURE_TYPE_PIPELINE_BINARY_HANDLES_INFO_KHR,
                                          nullptr, args.room, args.pBinaries};
  args.ret = device.table().vkCreatePipelineBinariesKHR(args.device, &info, nullptr, &binaries);
  *args.pBinaryCount = args.pBinaries == nullptr
                           ? binaries.pipelineBinaryCount
                           : std::min(binaries.pipelineBinaryCount, args.room);
  return true;
}

bool Session::GetPipelineKey(HostDevice& device, proto::Args_vesperGetPipelineKey& args) {
  const PipelineDescription description(args);
  if (device.table().vkGetPipelineKeyKHR == nullptr || !description.IsUnique()) {
    return false;
  }
  args.ret = device.table().vkGetPipelineKeyKHR(args.device, description.get(), args.pKey);
  return true;
}

bool Session::GetPipelineBinaryData(HostDevice& device,
                                    proto::Args_vkGetPipelineBinaryDataKHR& args) {
  if (device.table().vkGetPipelineBinaryDataKHR == nullptr) {
    return false;
  }
  const size_t room = *args.pPipelineBinaryDataSize;
  args.ret = device.table().vkGetPipelineBinaryDataKHR(
      args.device, args.pInfo, args.pPipelineBinaryKey, args.pPipelineBinaryDataSize,
      args.pPipelineBinaryData);
  if (args.ret < 0 || *args.pPipelineBinaryDataSize > room) {
    args.pPipelineBinaryData = nullptr;  // the size is what it would take, and nothing was written
  }
  return true;
}

// -- faults ---------------------------------------------------------------------------------------

bool Session::GetDeviceFaultInfo(HostDevice& device, proto::Args_vesperGetDeviceFaultInfo& args) {
  VkDeviceFaultInfoEXT info{VK_STRUCTURE_TYPE_DEVICE_FAULT_INFO_EXT};
  const bool wants_info = args.pDescription != nullptr;
  if (device.table().vkGetDeviceFaultInfoEXT == nullptr ||
      (wants_info && args.descriptionSize != sizeof(info.description))) {
    return false;
  }
  VkDeviceFaultCountsEXT counts{VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT};
  if (!wants_info) {
    args.pAddressInfos = nullptr;
    args.pVendorInfos = nullptr;
    args.pVendorBinary = nullptr;
    args.ret = device.table().vkGetDeviceFaultInfoEXT(args.device, &counts, nullptr);
    *args.pAddressInfoCount = counts.addressInfoCount;
    *args.pVendorInfoCount = counts.vendorInfoCount;
    *args.pVendorBinarySize = counts.vendorBinarySize;
    return true;
  }
  // Without an array there is no room for its elements.
  counts.addressInfoCount = args.pAddressInfos != nullptr ? *args.pAddressInfoCount : 0;
  counts.vendorInfoCount = args.pVendorInfos != nullptr ? *args.pVendorInfoCount : 0;
  counts.vendorBinarySize = args.pVendorBinary != nullptr ? *args.pVendorBinarySize : 0;
  const VkDeviceFaultCountsEXT room = counts;
  info.pAddressInfos = args.pAddressInfos;
  info.pVendorInfos = args.pVendorInfos;
  info.pVendorBinaryData = args.pVendorBinary;
  args.ret = device.table().vkGetDeviceFaultInfoEXT(args.device, &counts, &info);
  std::memcpy(args.pDescription, info.description, sizeof(info.description));
  *args.pAddressInfoCount = std::min(counts.addressInfoCount, room.addressInfoCount);
  *args.pVendorInfoCount = std::min(counts.vendorInfoCount, room.vendorInfoCount);
  *args.pVendorBinarySize = std::min(counts.vendorBinarySize, room.vendorBinarySize);
  return true;
}

// -- cooperative vectors --------------------------------------------------------------------------

bool Session::ConvertCooperativeVectorMatrix(
    Context& context, HostDevice& device, proto::Args_vesperConvertCooperativeVectorMatrix& args) {
  if (device.table().vkConvertCooperativeVectorMatrixNV == nullptr) {
    return false;
  }
  VkConvertCooperativeVectorMatrixInfoNV info = *args.pInfo;
  size_t written = 0;
  info.srcData = {};
  info.dstData = {};
  info.pDstSize = &written;
  if (args.pTarget == nullptr) {
    args.ret = device.table().vkConvertCooperativeVectorMatrixNV(args.device, &info);
    *args.pTargetSize = written;
    return true;
  }
  // The driver goes by the matrix's shape. Where that reaches past the bytes that came, or past
  // those that there is room for, it still finds memory.
  const auto source =
      MatrixExtent(device, info, {info.srcComponentType, info.srcLayout, info.srcStride});
  const auto target =
      MatrixExtent(device, info, {info.dstComponentType, info.dstLayout, info.dstStride});
  if (!source || !target) {
    return false;
  }
  const uint64_t room = *args.pTargetSize;
  void* from = context.arena.Allocate(std::max(*source, args.sourceSize));
  void* to = context.arena.Allocate(std::max(*target, room));
  if (from == nullptr || to == nullptr) {
    return false;
  }
  if (args.pSource != nullptr) {
    std::memcpy(from, args.pSource, args.sourceSize);
  }
  std::memcpy(to, args.pTarget, room);  // what lies between rows stays as it is
  info.srcSize = args.sourceSize;
  info.srcData.hostAddress = from;
  info.dstData.hostAddress = to;
  written = room;
  args.ret = device.table().vkConvertCooperativeVectorMatrixNV(args.device, &info);
  args.pTarget = args.ret == VK_SUCCESS && written <= room ? to : nullptr;
  *args.pTargetSize = written;
  return true;
}

// -- performance queries --------------------------------------------------------------------------

bool Session::HasCounters(VkPhysicalDevice device,
                          const VkQueryPoolPerformanceCreateInfoKHR& info) const {
  const HostInstance::PhysicalDevice* physical = instance_->Find(device);
  const InstanceTable& vk = instance_->table();
  uint32_t count = 0;
  if (physical == nullptr || info.queueFamilyIndex >= physical->queue_family_count ||
      vk.vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR == nullptr ||
      vk.vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR(
          device, info.queueFamilyIndex, &count, nullptr, nullptr) != VK_SUCCESS) {
    return false;
  }
  return info.pCounterIndices != nullptr &&
         std::all_of(info.pCounterIndices, info.pCounterIndices + info.counterIndexCount,
                     [count](uint32_t index) { return index < count; });
}

bool Session::IsInRange(uint16_t command, const void* args) const {
  switch (command) {
    case number::vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR: {
      using Args = proto::Args_vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR;
      const auto& a = *static_cast<const Args*>(args);
      const HostInstance::PhysicalDevice* physical = instance_->Find(a.physicalDevice);
      return physical != nullptr && a.queueFamilyIndex < physical->queue_family_count;
    }
    case number::vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR: {
      using Args = proto::Args_vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR;
      const auto& a = *static_cast<const Args*>(args);
      return HasCounters(a.physicalDevice, *a.pPerformanceQueryCreateInfo);
    }
    default:
      return true;
  }
}

bool Session::CreateQueryPool(HostDevice& device, proto::Args_vkCreateQueryPool& args) {
  const auto* counters = FindInChain<VkQueryPoolPerformanceCreateInfoKHR>(
      args.pCreateInfo->pNext, VK_STRUCTURE_TYPE_QUERY_POOL_PERFORMANCE_CREATE_INFO_KHR);
  if (counters != nullptr && !HasCounters(device.physical().handle, *counters)) {
    return false;
  }
  args.ret =
      device.table().vkCreateQueryPool(args.device, args.pCreateInfo, nullptr, args.pQueryPool);
  if (args.ret == VK_SUCCESS) {
    device.query_results().Add(*args.pQueryPool, *args.pCreateInfo);
  }
  if (counters != nullptr && args.ret == VK_SUCCESS) {
    device.resources().SetQueryBytes(
        *args.pQueryPool, counters->counterIndexCount * sizeof(VkPerformanceCounterResultKHR));
  }
  return true;
}

}  // namespace vesper::server
