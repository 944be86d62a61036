// SPDX-License-Identifier: Apache-2.0
// A program with mapped memory in a place where less is allowed than usual:
//
//   confined_program [WORD...]
//
//   nobody             without privileges, if it has any to give up
//   no-userfaultfd     that system call is denied, as container managers do it
//   no-pagemap-scan    a kernel that has no PAGEMAP_SCAN
//   no-proc            /proc isn't there
//   address-space=MIB  RLIMIT_AS
//   descriptors=N      RLIMIT_NOFILE
//   file-size=BYTES    RLIMIT_FSIZE
//   few-maps           all but a few of the mappings that the kernel allows are taken
//
// Confines itself, starts itself anew (so that nothing is left of the time before), and checks that
// what it writes is what the GPU sees, and the other way round. Exit status 0, or 1 with one
// sentence on standard error; 77 if it couldn't confine itself here.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/framework/random.h"
#include "tests/framework/resources.h"

namespace vesper::tests {
namespace {

constexpr int kCannotConfine = 77;

class CannotConfine : public std::runtime_error {
 public:
  explicit CannotConfine(const std::string& what)
      : std::runtime_error(what + ": " + strerror(errno)) {}
};

// -- confinement ----------------------------------------------------------------------------------

void BecomeNobody() {
  constexpr uid_t kNobody = 65534;
  if (geteuid() != 0) {
    return;
  }
  if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0) {
    throw CannotConfine("could not become nobody");
  }
  const char* manifest = getenv("VK_DRIVER_FILES");
  if (manifest == nullptr || access(manifest, R_OK) != 0) {
    throw CannotConfine("nobody can't read the driver's manifest");
  }
}

// Denies one system call, or only those with `argument` as their second one.
void Deny(uint32_t number, uint32_t error, const uint32_t* argument = nullptr) {
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  if (argument != nullptr) {
    // The low half, on machines that keep it first.
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, *argument, 1, 0));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error));
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    throw CannotConfine("could not filter system calls");
  }
}

void HideProc() {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", "/proc", "tmpfs", MS_RDONLY, nullptr) != 0) {
    throw CannotConfine("could not hide /proc");
  }
}

void Limit(int resource, rlim_t value) {
  const rlimit limit{value, value};
  if (setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) {
    throw CannotConfine("could not set a limit");
  }
}

// What stays with the process when it starts itself anew. True if `word` was such a one.
bool ConfineForGood(const std::string& word) {
  constexpr uint32_t kPagemapScan = 0xC0606610;
  const size_t equals = word.find('=');
  const rlim_t number = equals == std::string::npos ? 0 : std::stoul(word.substr(equals + 1));
  if (word == "nobody") {
    BecomeNobody();
  } else if (word == "no-userfaultfd") {
    Deny(SYS_userfaultfd, EPERM);
  } else if (word == "no-pagemap-scan") {
    Deny(SYS_ioctl, ENOTTY, &kPagemapScan);
  } else if (word == "no-proc") {
    HideProc();
  } else if (word.starts_with("address-space=")) {
    Limit(RLIMIT_AS, number << 20);
  } else if (word.starts_with("file-size=")) {
    Limit(RLIMIT_FSIZE, number);
  } else if (word.starts_with("descriptors=")) {
    // What the test was started with must not count.
    close_range(3, ~0u, 0);
    Limit(RLIMIT_NOFILE, number);
  } else {
    return false;
  }
  return true;
}

size_t CountMappings() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    ++count;
  }
  return count;
}

// Splits pages of its own until only so many mappings are left to the process.
void TakeMappings(size_t left) {
  size_t most = 0;
  std::ifstream("/proc/sys/vm/max_map_count") >> most;
  if (most == 0 || most > 2'000'000) {
    throw CannotConfine("the kernel's limit of mappings is unknown, or too large to come near");
  }
  const size_t taken = CountMappings();
  if (taken + left + 2 >= most) {
    return;
  }
  const size_t pages = (most - left - taken) / 2 * 2;
  auto* begin = static_cast<std::byte*>(
      mmap(nullptr, pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (begin == MAP_FAILED) {
    throw CannotConfine("could not take mappings");
  }
  for (size_t i = 0; i < pages; i += 2) {
    if (mprotect(begin + i * 4096, 4096, PROT_READ) != 0) {
      return;  // That's all there are.
    }
  }
}

// -- what must be right ---------------------------------------------------------------------------

class Check {
 public:
  explicit Check(bool few_maps) : few_maps_(few_maps) {
    // Before the driver takes what descriptors are left.
    if (pipe2(pipe_, O_CLOEXEC) != 0) {
      throw CannotConfine("the test itself needs two descriptors");
    }
  }

  void Run() {
    if (few_maps_) {
      TakeMappings(400);
    }
    gpu_.Open();
    if (few_maps_) {
      TakeMappings(40);
    }
    const bool kernel_may_write = Variable("VESPER_MEMORY") != "signal";
    for (uint64_t seed = 1; seed <= 2; ++seed) {
      Buffer shared = MakeHostBuffer(gpu_, kSize);
      Buffer small = MakeHostBuffer(gpu_, 5000);
      WritesArrive(seed, shared, small);
      BothWrite(seed, shared);
      if (kernel_may_write) {
        KernelWrites(seed, shared);
      }
      ThreadsWrite(shared);
      Remap(seed, shared);
    }
    ManyAllocations();
  }

 private:
  static constexpr VkDeviceSize kSize = (1 << 20) + 4096 + 40;

  static std::string Variable(const char* name) {
    const char* value = getenv(name);
    return value == nullptr ? "" : value;
  }

  static void Expect(bool right, const std::string& what) {
    if (!right) {
      throw std::runtime_error(what);
    }
  }

  void ExpectGpuSees(const Buffer& buffer, const std::vector<uint8_t>& expected,
                     const std::string& what) {
    Expect(std::memcmp(buffer.data, expected.data(), expected.size()) == 0,
           what + ": the program doesn't see what was written");
    Expect(ReadBack(gpu_, buffer.handle, expected.size()) == expected,
           what + ": the GPU doesn't see what was written");
  }

  void WritesArrive(uint64_t seed, Buffer& shared, Buffer& small) {
    Random random(seed);
    std::vector<uint8_t> expected(kSize);
    std::vector<uint8_t> small_expected(5000);
    for (int round = 0; round < 6; ++round) {
      for (uint64_t i = random.Between(1, 200); i > 0; --i) {
        const size_t at = random.Below(kSize);
        shared.data[at] = expected[at] = static_cast<uint8_t>(random.Next());
      }
      small.data[round * 700] = small_expected[round * 700] = static_cast<uint8_t>(seed);
      ExpectGpuSees(shared, expected, "single bytes");
      ExpectGpuSees(small, small_expected, "a small mapping");
    }
    std::memset(shared.data, 0, kSize);
  }

  void BothWrite(uint64_t seed, Buffer& shared) {
    std::vector<uint8_t> expected(kSize);
    for (uint32_t round = 1; round <= 6; ++round) {
      VkCommandBuffer commands = gpu_.Record([&](VkCommandBuffer recording) {
        for (VkDeviceSize line = 0; line < 200; ++line) {
          gpu_.vk.CmdFillBuffer(recording, shared.handle, line * 4160 + 16, 4, round * 0x01010101);
        }
        gpu_.FullBarrier(recording);
      });
      gpu_.Submit(commands);
      for (size_t line = 0; line < 200; ++line) {
        shared.data[line * 4160 + 20] = expected[line * 4160 + 20] =
            static_cast<uint8_t>(seed + round);
        std::memset(&expected[line * 4160 + 16], static_cast<int>(round), 4);
      }
      VESPER_CHECK(gpu_.vk.QueueWaitIdle(gpu_.queue));
      ExpectGpuSees(shared, expected, "the program and the GPU in one line");
    }
    std::memset(shared.data, 0, kSize);
  }

  void KernelWrites(uint64_t seed, Buffer& shared) {
    const std::vector<uint8_t> bytes = Random(seed).Bytes(30'000);
    std::vector<uint8_t> expected(kSize);
    for (const size_t at : {size_t{0}, size_t{4090}, size_t{70'001}, size_t{kSize - 30'000}}) {
      Expect(write(pipe_[1], bytes.data(), bytes.size()) == 30'000, "could not write to a pipe");
      size_t done = 0;
      while (done < bytes.size()) {
        const ssize_t size = read(pipe_[0], shared.data + at + done, bytes.size() - done);
        Expect(size > 0, std::string("read(2) into mapped memory: ") + strerror(errno));
        done += static_cast<size_t>(size);
      }
      std::memcpy(&expected[at], bytes.data(), bytes.size());
      ExpectGpuSees(shared, expected, "read(2) into mapped memory");
    }
    std::memset(shared.data, 0, kSize);
  }

  void ThreadsWrite(Buffer& shared) {
    std::vector<std::thread> threads;
    std::atomic<bool> failed = false;
    for (size_t thread = 0; thread < 3; ++thread) {
      threads.emplace_back([&, thread] {
        for (int round = 1; round <= 20; ++round) {
          for (size_t i = thread; i < kSize; i += 3 * 331) {
            shared.data[i] = static_cast<uint8_t>(round);
          }
        }
      });
    }
    VkCommandBuffer nothing = gpu_.Record([](VkCommandBuffer) {});
    for (int i = 0; i < 20; ++i) {
      gpu_.Submit(nothing);
      VESPER_CHECK(gpu_.vk.QueueWaitIdle(gpu_.queue));
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    std::vector<uint8_t> expected(kSize);
    for (size_t thread = 0; thread < 3; ++thread) {
      for (size_t i = thread; i < kSize; i += 3 * 331) {
        expected[i] = 20;
      }
    }
    ExpectGpuSees(shared, expected, "several threads beside submissions");
  }

  void Remap(uint64_t seed, Buffer& shared) {
    Random random(seed);
    std::vector<uint8_t> expected(shared.data, shared.data + kSize);
    for (int round = 0; round < 5; ++round) {
      const size_t at = random.Below(kSize);
      shared.data[at] = expected[at] = static_cast<uint8_t>(random.Next());
      gpu_.vk.UnmapMemory(gpu_.device, shared.memory);
      gpu_.Execute([&](VkCommandBuffer commands) {
        gpu_.vk.CmdFillBuffer(commands, shared.handle, 8192, 4, 0x51515151);
      });
      std::memset(&expected[8192], 0x51, 4);
      shared.data = gpu_.Map(shared.memory);
      ExpectGpuSees(shared, expected, "mapped anew");
    }
  }

  void ManyAllocations() {
    std::vector<Buffer> buffers;
    for (uint32_t i = 0; i < 60; ++i) {
      buffers.push_back(MakeHostBuffer(gpu_, 6000 + i * 100));
      buffers.back().data[i * 90] = static_cast<uint8_t>(i + 1);
    }
    for (uint32_t i = 0; i < 60; ++i) {
      std::vector<uint8_t> expected(buffers[i].size);
      expected[i * 90] = static_cast<uint8_t>(i + 1);
      ExpectGpuSees(buffers[i], expected, "one of many mappings");
    }
  }

  const bool few_maps_;
  int pipe_[2] = {-1, -1};
  Gpu gpu_;
};

int Main(const std::vector<std::string>& words, const char* self) {
  bool few_maps = false;
  bool is_confined = false;
  for (const std::string& word : words) {
    if (word == "confined") {
      is_confined = true;
    } else if (word == "few-maps") {
      few_maps = true;
    } else if (!ConfineForGood(word)) {
      throw std::runtime_error("there is no confinement '" + word + "'");
    }
  }
  if (!is_confined) {
    execl(self, self, "confined", few_maps ? "few-maps" : nullptr, nullptr);
    throw CannotConfine(std::string("could not start anew as ") + self);
  }
  Check(few_maps).Run();
  std::cout << "right" << std::endl;
  return 0;
}

}  // namespace
}  // namespace vesper::tests

int main(int argc, char** argv) {
  try {
    return vesper::tests::Main({argv + 1, argv + argc}, argv[0]);
  } catch (const vesper::tests::CannotConfine& error) {
    std::cerr << error.what() << "\n";
    return vesper::tests::kCannotConfine;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
