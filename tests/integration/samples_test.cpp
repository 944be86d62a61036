// SPDX-License-Identifier: Apache-2.0
// The sample programs draw and compute the same on the real driver and as guests, to the last bit.
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

class SamplesTest : public VesperOnlyTest {
 protected:
  // The standard output of a program that must succeed.
  static std::string OutputOf(const std::vector<std::string>& command,
                              const std::map<std::string, std::string>& environment) {
    const TemporaryFolder folder;
    ChildProcess program =
        ChildProcess::Start(command, environment, folder.Path("out"), folder.Path("err"));
    const std::optional<int> status = program.Wait(std::chrono::seconds(200));
    EXPECT_EQ(std::optional<int>(0), status) << ReadFile(folder.Path("err"));
    return ReadFile(folder.Path("out"));
  }

  void ExpectSameOutput(const std::vector<std::string>& command) {
    const std::string native = OutputOf(command, {{"VK_DRIVER_FILES", target_.driver_manifest},
                                                  {"VK_ICD_FILENAMES", target_.driver_manifest}});
    EXPECT_FALSE(native.empty());
    EXPECT_EQ(native, OutputOf(command, {}));
  }
};

TEST_F(SamplesTest, Turntable) {
  ExpectSameOutput({VESPER_BUILD_DIR "/bin/turntable", "--frame", "17", "--frames", "6",
                    "--checksums", "--size", "320x240"});
}

TEST_F(SamplesTest, Saxpy) { ExpectSameOutput({VESPER_BUILD_DIR "/bin/saxpy"}); }

}  // namespace
}  // namespace vesper::tests
