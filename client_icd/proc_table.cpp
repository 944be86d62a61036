// SPDX-License-Identifier: Apache-2.0
#include "client_icd/proc_table.h"

#include <algorithm>

namespace vesper::client {

const Proc* FindProc(std::string_view name) {
  const std::span<const Proc> procs = Procs();
  const auto found =
      std::lower_bound(procs.begin(), procs.end(), name,
                       [](const Proc& proc, std::string_view value) { return proc.name < value; });
  return found != procs.end() && found->name == name ? &*found : nullptr;
}

}  // namespace vesper::client
