// SPDX-License-Identifier: Apache-2.0
//
// Conversion of cooperative-vector matrices in the program's memory. The addresses' extents are
// other members of the struct, and one of them is behind a pointer, so source and target travel as
// parameters of a command of Vesper's own. (The recorded form has device addresses, which travel as
// they are.)
#include "client_icd/device.h"
#include "client_icd/entry_points_gen.h"
#include "client_icd/generated_support.h"
#include "proto/records_gen.h"

namespace vesper::client::entry {

VKAPI_ATTR VkResult VKAPI_CALL vkConvertCooperativeVectorMatrixNV(
    VkDevice device, const VkConvertCooperativeVectorMatrixInfoNV* pInfo) {
  VkConvertCooperativeVectorMatrixInfoNV info = *pInfo;
  info.srcData = {};
  info.dstData = {};
  info.pDstSize = nullptr;
  uint64_t target_size = *pInfo->pDstSize;
  proto::Args_vesperConvertCooperativeVectorMatrix args{};
  args.device = device;
  args.pInfo = &info;
  args.pTargetSize = &target_size;
  if (pInfo->dstData.hostAddress != nullptr) {  // else only the size is asked for
    args.sourceSize = pInfo->srcSize;
    args.pSource = pInfo->srcData.hostAddress;
    args.pTarget = pInfo->dstData.hostAddress;
  }
  const VkResult result =
      CallResult(Device::From(device), proto::command_number::vesperConvertCooperativeVectorMatrix,
                 &args, &args.ret, kHostMemory);
  *pInfo->pDstSize = result < 0 ? 0 : target_size;
  return result;
}

}  // namespace vesper::client::entry
