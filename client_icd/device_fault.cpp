// SPDX-License-Identifier: Apache-2.0
//
// What the driver knows of why a device was lost. The counts are in one struct and the arrays in
// another, so it travels as a command of Vesper's own. It is asked for when the device is lost, so
// it is sent all the same: only a lost session has nobody left to ask.
#include <cstring>

#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "proto/records_gen.h"

namespace vesper::client::entry {

VKAPI_ATTR VkResult VKAPI_CALL vkGetDeviceFaultInfoEXT(VkDevice device,
                                                       VkDeviceFaultCountsEXT* pFaultCounts,
                                                       VkDeviceFaultInfoEXT* pFaultInfo) {
  proto::Args_vesperGetDeviceFaultInfo args{};
  args.device = device;
  args.pAddressInfoCount = &pFaultCounts->addressInfoCount;
  args.pVendorInfoCount = &pFaultCounts->vendorInfoCount;
  args.pVendorBinarySize = &pFaultCounts->vendorBinarySize;
  if (pFaultInfo != nullptr) {
    args.descriptionSize = sizeof(pFaultInfo->description);
    args.pDescription = pFaultInfo->description;
    args.pAddressInfos = pFaultInfo->pAddressInfos;
    args.pVendorInfos = pFaultInfo->pVendorInfos;
    args.pVendorBinary = pFaultInfo->pVendorBinaryData;
  } else {
    pFaultCounts->addressInfoCount = 0;
    pFaultCounts->vendorInfoCount = 0;
    pFaultCounts->vendorBinarySize = 0;
  }
  Session& session = Device::From(device).session();
  if (session.Call(proto::command_number::vesperGetDeviceFaultInfo, &args)) {
    if (pFaultInfo != nullptr) {
      pFaultInfo->description[sizeof(pFaultInfo->description) - 1] = '\0';
    }
    return args.ret;
  }
  pFaultCounts->addressInfoCount = 0;
  pFaultCounts->vendorInfoCount = 0;
  pFaultCounts->vendorBinarySize = 0;
  if (pFaultInfo != nullptr) {
    static_assert(sizeof(pFaultInfo->description) > 64);
    std::strcpy(pFaultInfo->description, "the connection to the Vesper server has ended");
  }
  return VK_SUCCESS;
}

}  // namespace vesper::client::entry
