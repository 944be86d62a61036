// SPDX-License-Identifier: Apache-2.0
// Any text is an endpoint that prints back as it was understood, or gives a short sentence.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "transport/endpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using vesper::transport::Endpoint;
  std::string error;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::optional<Endpoint> endpoint = Endpoint::Parse(text, &error);
  if (!endpoint) {
    if (error.empty() || error.size() > 400) {
      std::abort();
    }
    return 0;
  }
  (void)endpoint->IsLoopback();
  const std::optional<Endpoint> again = Endpoint::Parse(endpoint->ToString(), &error);
  if (!again || *again != *endpoint) {
    std::abort();
  }
  return 0;
}
