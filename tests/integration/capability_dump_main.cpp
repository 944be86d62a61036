// SPDX-License-Identifier: Apache-2.0
// Prints the capabilities of the real driver, line by line, for the test that compares them with
// those that a guest sees. In a process of its own, because a loader knows one set of drivers.
#include <exception>
#include <iostream>

#include "tests/framework/test_server.h"
#include "tests/integration/capability_dump.h"

int main() {
  try {
    vesper::tests::TestTarget target = vesper::tests::TestTarget::FromEnvironment();
    target.native = true;
    vesper::tests::UseDriver(target, "");
    for (const auto& [name, value] : vesper::tests::DumpCapabilities()) {
      std::cout << name << "=" << value << "\n";
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
