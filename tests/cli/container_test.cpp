// SPDX-License-Identifier: Apache-2.0
// What `vesper doctor` says in a container where something is missing. What takes another user or a
// seccomp filter is in tests/containers.
#include <gmock/gmock.h>

#include "tests/cli/tool.h"
#include "transport/stream.h"

namespace vesper::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ContainerTest : public ToolTest {
 protected:
  std::string Path() const { return folder_.Path("volume/vesper.sock"); }

  // What the doctor says of the server at Path().
  std::string Diagnosis(const std::map<std::string, std::string>& more = {}) {
    std::map<std::string, std::string> environment = {{"container", "crate"},
                                                      {"VESPER_SERVER", "unix:" + Path()}};
    environment.insert(more.begin(), more.end());
    EXPECT_EQ(Run({"doctor"}, environment), 1);
    return Output();
  }
};

TEST_F(ContainerTest, NoSocketIsMounted) {
  const std::string folder = folder_.Path("volume");
  EXPECT_THAT(
      Diagnosis(),
      AllOf(
          HasSubstr("FAIL  no server listens at unix:" + Path()),
          HasSubstr("-> start vesperd outside, and mount its socket's folder into this container: "
                    "--volume " +
                    folder + ":" + folder + "\n"),
          HasSubstr("ok    this is a container (crate), of user ")));
}

TEST_F(ContainerTest, FolderThatAnEngineMadeForTheSocket) {
  std::filesystem::create_directories(Path());
  EXPECT_THAT(Diagnosis(), HasSubstr("-> " + Path() + " is a folder, as engines make one"));
}

TEST_F(ContainerTest, FileThatIsNoSocket) {
  std::filesystem::create_directories(folder_.Path("volume"));
  std::ofstream(Path()) << "words";
  EXPECT_THAT(Diagnosis(), HasSubstr("-> " + Path() + " is not a socket"));
}

TEST_F(ContainerTest, SocketOfAServerThatIsGone) {
  std::filesystem::create_directories(folder_.Path("volume"));
  std::string error;
  const std::string copy = folder_.Path("volume/mounted.sock");
  {
    const auto endpoint = *transport::Endpoint::Parse("unix:" + Path(), &error);
    const auto listener = transport::Listener::Open(endpoint, &error);
    ASSERT_TRUE(listener) << error;
    // The server takes its own name away when it ends, and a mount of the socket keeps another.
    std::filesystem::create_hard_link(Path(), copy);
  }
  std::filesystem::rename(copy, Path());
  EXPECT_THAT(Diagnosis(), HasSubstr("mount its folder instead, which shows the new one"));
}

TEST_F(ContainerTest, CacheThatCannotBeWritten) {
  std::ofstream(folder_.Path("file")) << "words";
  EXPECT_THAT(Diagnosis({{"VESPER_CACHE_DIR", folder_.Path("file/cache")}}),
              AllOf(HasSubstr("no    what servers answer is not remembered on disk: " +
                              folder_.Path("file/cache") + ": Not a directory"),
                    HasSubstr("--volume vesper-cache:/cache --env VESPER_CACHE_DIR=/cache")));
  EXPECT_THAT(Diagnosis({{"VESPER_CACHE_DIR", ""}, {"XDG_CACHE_HOME", ""}, {"HOME", ""}}),
              AllOf(HasSubstr("is not remembered on disk: there is no HOME"),
                    HasSubstr("-> set VESPER_CACHE_DIR to a folder that can be written")));
  EXPECT_THAT(Diagnosis({{"VESPER_CACHE", "off"}}), HasSubstr("VESPER_CACHE asks for it"));
  EXPECT_THAT(Diagnosis(), HasSubstr("ok    what servers answer is remembered in "));
}

TEST_F(ContainerTest, SharedMemoryOfAnySizeWillDo) {
  EXPECT_THAT(Diagnosis(), HasSubstr("any size will do"));
  EXPECT_THAT(Diagnosis(), Not(HasSubstr("no files in memory")));
}

TEST_F(ContainerTest, PingSaysWhyNobodyAnswers) {
  EXPECT_EQ(Run({"ping", "--server", "unix:" + Path()}), 1);
  EXPECT_THAT(Errors(), HasSubstr("vesper ping: no server listens at unix:" + Path()));
  EXPECT_EQ(Run({"ping", "--server", "somewhere"}), 2);
}

}  // namespace
}  // namespace vesper::cli
