// SPDX-License-Identifier: Apache-2.0
// The kernel as a reader and writer of mapped memory: programs read files straight into it and send
// from it. What a system call writes there must be on the GPU at the next submission, as if a store
// had written it; what the GPU wrote must be what a system call finds.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <thread>

#include "tests/framework/random.h"
#include "tests/framework/vulkan_test.h"

namespace vesper::tests {
namespace {

constexpr VkDeviceSize kSize = 6 << 20;

struct Place {
  size_t begin;
  size_t size;
};

// A byte; across a line, a page and many pages; to the last byte; megabytes.
constexpr Place kPlaces[] = {{0, 1},
                             {4095, 1},
                             {4090, 12},
                             {8192, 4096},
                             {20'479, 8194},
                             {100'001, 65'537},
                             {1 << 20, 3 << 20},
                             {kSize - 1, 1},
                             {kSize - 5000, 5000}};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {
    if (fd < 0) {
      throw std::runtime_error(std::string("Could not open a descriptor: ") + strerror(errno));
    }
  }
  ~Descriptor() { close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return fd_; }  // NOLINT: stands in for the number everywhere.

 private:
  int fd_;
};

// Calls until everything has moved; false with errno set if a call fails or moves nothing.
bool MoveAll(uint8_t* data, size_t size, const std::function<ssize_t(uint8_t*, size_t)>& call) {
  while (size > 0) {
    const ssize_t moved = call(data, size);
    if (moved <= 0) {
      return false;
    }
    data += moved;
    size -= static_cast<size_t>(moved);
  }
  return true;
}

class MemorySyscallTest : public VulkanTest {
 protected:
  void SetUp() override {
    VulkanTest::SetUp();
    shared_ = MakeHostBuffer(gpu(), kSize);
    source_ = MakeHostBuffer(gpu(), kSize);
    target_ = MakeDeviceBuffer(gpu(), kSize);
    expected_.assign(kSize, 0);
    upload_ = RecordCopy(shared_.handle, target_.handle);
    download_ = RecordCopy(source_.handle, shared_.handle);
    // What was sent once is followed from then on: the first submission may send all there is.
    SubmitAndWait(upload_);
  }

  VkCommandBuffer RecordCopy(VkBuffer from, VkBuffer to) {
    return Record([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      CopyBytes(gpu(), commands, from, to, kSize);
      FullBarrier(commands);
    });
  }

  void SubmitAndWait(VkCommandBuffer commands) {
    Submit(commands);
    VESPER_CHECK(vk.QueueWaitIdle(queue));
  }

  // Has `receive` put new bytes at each place of the mapping, and sees that the GPU gets them.
  void ExpectReceived(
      const std::function<bool(const std::vector<uint8_t>& bytes, uint8_t* to)>& receive) {
    Random random(70);
    for (const Place& place : kPlaces) {
      SCOPED_TRACE(testing::Message() << place.size << " bytes at " << place.begin);
      const std::vector<uint8_t> bytes = random.Bytes(place.size);
      ASSERT_TRUE(receive(bytes, shared_.data + place.begin)) << strerror(errno);
      std::copy(bytes.begin(), bytes.end(),
                expected_.begin() + static_cast<std::ptrdiff_t>(place.begin));
      // Neither more nor less than that is in the mapping, and on the GPU.
      ASSERT_EQ(0, std::memcmp(expected_.data(), shared_.data, kSize));
      SubmitAndWait(upload_);
      ASSERT_EQ(expected_, ReadBack(gpu(), target_.handle, kSize));
    }
  }

  // Has the GPU write all of the mapping; `send` must then find the GPU's bytes at each place.
  void ExpectSent(const std::function<bool(uint8_t* from, std::vector<uint8_t>& bytes)>& send) {
    Random random(71);
    for (const Place& place : kPlaces) {
      SCOPED_TRACE(testing::Message() << place.size << " bytes at " << place.begin);
      // The places differ each time, so that the rest of the memory need not.
      for (size_t i = place.begin; i < place.begin + place.size; ++i) {
        source_.data[i] = static_cast<uint8_t>(random.Next() >> 20);
      }
      SubmitAndWait(download_);
      std::vector<uint8_t> bytes(place.size);
      ASSERT_TRUE(send(shared_.data + place.begin, bytes)) << strerror(errno);
      ASSERT_EQ(0, std::memcmp(source_.data + place.begin, bytes.data(), place.size));
    }
  }

  Buffer shared_;
  Buffer source_;
  Buffer target_;
  std::vector<uint8_t> expected_;
  VkCommandBuffer upload_ = VK_NULL_HANDLE;
  VkCommandBuffer download_ = VK_NULL_HANDLE;
};

// A file without a name, with those bytes.
int MakeFile(const std::vector<uint8_t>& bytes = {}) {
  const int file = memfd_create("vesper test", MFD_CLOEXEC);
  std::vector<uint8_t> copy = bytes;
  MoveAll(copy.data(), copy.size(),
          [file](uint8_t* data, size_t size) { return write(file, data, size); });
  lseek(file, 0, SEEK_SET);
  return file;
}

TEST_F(MemorySyscallTest, ReadFromAFile) {
  ExpectReceived([](const std::vector<uint8_t>& bytes, uint8_t* to) {
    const Descriptor file(MakeFile(bytes));
    return MoveAll(to, bytes.size(),
                   [&](uint8_t* data, size_t size) { return read(file, data, size); });
  });
}

TEST_F(MemorySyscallTest, PreadFromAFile) {
  ExpectReceived([](const std::vector<uint8_t>& bytes, uint8_t* to) {
    const Descriptor file(MakeFile(bytes));
    return MoveAll(to, bytes.size(),
                   [&](uint8_t* data, size_t size) { return pread(file, data, size, data - to); });
  });
}

TEST_F(MemorySyscallTest, ReadFromAFileOnDisk) {
  // Not from memory: the page cache, and perhaps the disk, are in between.
  TemporaryFolder folder;
  ExpectReceived([&](const std::vector<uint8_t>& bytes, uint8_t* to) {
    const Descriptor file(
        open(folder.Path("file").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    std::vector<uint8_t> copy = bytes;
    return MoveAll(copy.data(), copy.size(),
                   [&](uint8_t* data, size_t size) { return write(file, data, size); }) &&
           MoveAll(to, bytes.size(),
                   [&](uint8_t* data, size_t size) { return pread(file, data, size, data - to); });
  });
}

TEST_F(MemorySyscallTest, ReadvIntoSeveralPlaces) {
  ExpectReceived([](const std::vector<uint8_t>& bytes, uint8_t* to) {
    const Descriptor file(MakeFile(bytes));
    const size_t half = bytes.size() / 2;
    const iovec parts[] = {{to, half}, {to + half, bytes.size() - half}};
    return readv(file, parts, 2) == static_cast<ssize_t>(bytes.size());
  });
}

TEST_F(MemorySyscallTest, ReadFromAPipe) {
  ExpectReceived([](const std::vector<uint8_t>& bytes, uint8_t* to) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      return false;
    }
    const Descriptor out(ends[0]);
    std::thread writer([&bytes, fd = ends[1]] {
      const Descriptor in(fd);
      std::vector<uint8_t> copy = bytes;
      MoveAll(copy.data(), copy.size(),
              [&](uint8_t* data, size_t size) { return write(in, data, size); });
    });
    const bool ok = MoveAll(to, bytes.size(),
                            [&](uint8_t* data, size_t size) { return read(out, data, size); });
    writer.join();
    return ok;
  });
}

TEST_F(MemorySyscallTest, RecvFromASocket) {
  ExpectReceived([](const std::vector<uint8_t>& bytes, uint8_t* to) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return false;
    }
    const Descriptor out(ends[0]);
    std::thread writer([&bytes, fd = ends[1]] {
      const Descriptor in(fd);
      std::vector<uint8_t> copy = bytes;
      MoveAll(copy.data(), copy.size(),
              [&](uint8_t* data, size_t size) { return send(in, data, size, MSG_NOSIGNAL); });
    });
    const bool ok = MoveAll(to, bytes.size(),
                            [&](uint8_t* data, size_t size) { return recv(out, data, size, 0); });
    writer.join();
    return ok;
  });
}

TEST_F(MemorySyscallTest, SeveralThreadsReadAtOnce) {
  // Neighbouring pieces of the same pages, all in flight together, with submissions beside them.
  constexpr size_t kPiece = 10'000;
  constexpr size_t kThreads = 4;
  const std::vector<uint8_t> bytes = Random(72).Bytes(kThreads * 20 * kPiece);
  const Descriptor file(MakeFile(bytes));
  std::vector<std::thread> readers;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    readers.emplace_back([&, thread] {
      for (size_t i = thread; i < kThreads * 20; i += kThreads) {
        uint8_t* to = shared_.data + 77 + i * kPiece;
        EXPECT_EQ(static_cast<ssize_t>(kPiece),
                  pread(file, to, kPiece, static_cast<off_t>(i * kPiece)))
            << strerror(errno);
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    SubmitAndWait(upload_);
  }
  for (std::thread& reader : readers) {
    reader.join();
  }
  SubmitAndWait(upload_);
  std::copy(bytes.begin(), bytes.end(), expected_.begin() + 77);
  EXPECT_EQ(expected_, ReadBack(gpu(), target_.handle, kSize));
}

TEST_F(MemorySyscallTest, DirectReadsBesideSubmissions) {
  // Past the page cache: the disk writes the pages after the kernel has looked at the page tables,
  // and submissions come in between. Whoever watches the page tables sees such a write when it
  // begins, and not when it ends: only comparing finds it.
  const char* tier = getenv("VESPER_MEMORY");
  VESPER_REQUIRE(TestTarget::FromEnvironment().native ||
                 (tier != nullptr && std::string(tier) == "compare"));
  TemporaryFolder folder;
  const std::string path = folder.Path("file");
  constexpr size_t kPiece = 256 << 10;
  constexpr size_t kPieces = 16;
  const std::vector<uint8_t> bytes = Random(74).Bytes(kPieces * kPiece);
  {
    const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    std::vector<uint8_t> copy = bytes;
    ASSERT_TRUE(MoveAll(copy.data(), copy.size(),
                        [&](uint8_t* data, size_t size) { return write(file, data, size); }));
    ASSERT_EQ(0, fsync(file));
  }
  const int direct = open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  VESPER_REQUIRE(direct >= 0 && reinterpret_cast<uintptr_t>(shared_.data) % 4096 == 0);
  const Descriptor file(direct);
  for (int round = 0; round < 6; ++round) {
    std::memset(shared_.data, 0, bytes.size());
    SubmitAndWait(upload_);
    std::thread reader([&] {
      for (size_t i = 0; i < kPieces; ++i) {
        EXPECT_EQ(static_cast<ssize_t>(kPiece),
                  pread(file, shared_.data + i * kPiece, kPiece, static_cast<off_t>(i * kPiece)))
            << strerror(errno);
      }
    });
    for (int i = 0; i < 8; ++i) {
      SubmitAndWait(upload_);
    }
    reader.join();
    SubmitAndWait(upload_);
    const std::vector<uint8_t> seen = ReadBack(gpu(), target_.handle, kSize);
    ASSERT_EQ(0, std::memcmp(bytes.data(), shared_.data, bytes.size()));
    ASSERT_EQ(0, std::memcmp(bytes.data(), seen.data(), bytes.size())) << "round " << round;
  }
}

TEST_F(MemorySyscallTest, WriteToAFile) {
  ExpectSent([](uint8_t* from, std::vector<uint8_t>& bytes) {
    const Descriptor file(MakeFile());
    return MoveAll(from, bytes.size(),
                   [&](uint8_t* data, size_t size) { return write(file, data, size); }) &&
           pread(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
  });
}

TEST_F(MemorySyscallTest, WriteToAPipe) {
  ExpectSent([](uint8_t* from, std::vector<uint8_t>& bytes) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      return false;
    }
    const Descriptor out(ends[0]);
    bool written = false;
    std::thread writer([&, fd = ends[1]] {
      const Descriptor in(fd);
      written = MoveAll(from, bytes.size(),
                        [&](uint8_t* data, size_t size) { return write(in, data, size); });
    });
    const bool ok = MoveAll(bytes.data(), bytes.size(),
                            [&](uint8_t* data, size_t size) { return read(out, data, size); });
    writer.join();
    return ok && written;
  });
}

TEST_F(MemorySyscallTest, SendToASocket) {
  ExpectSent([](uint8_t* from, std::vector<uint8_t>& bytes) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return false;
    }
    const Descriptor out(ends[0]);
    bool written = false;
    std::thread writer([&, fd = ends[1]] {
      const Descriptor in(fd);
      written = MoveAll(from, bytes.size(), [&](uint8_t* data, size_t size) {
        return send(in, data, size, MSG_NOSIGNAL);
      });
    });
    const bool ok = MoveAll(bytes.data(), bytes.size(),
                            [&](uint8_t* data, size_t size) { return recv(out, data, size, 0); });
    writer.join();
    return ok && written;
  });
}

TEST_F(MemorySyscallTest, IntoMemoryThatTheGpuWritesToo) {
  // The kernel's bytes and the GPU's, side by side in each line, between the same two sync points.
  std::vector<VkBufferCopy> regions;
  for (size_t i = 0; i < 4000; ++i) {
    regions.push_back({i * 64 + 32, i * 64 + 32, 16});
  }
  VkCommandBuffer copy = Record([&](VkCommandBuffer commands) {
    FullBarrier(commands);
    vk.CmdCopyBuffer(commands, source_.handle, shared_.handle,
                     static_cast<uint32_t>(regions.size()), regions.data());
    FullBarrier(commands);
  });
  Random random(73);
  for (int round = 0; round < 5; ++round) {
    random.Fill({source_.data, 4000 * 64});
    const std::vector<uint8_t> bytes = random.Bytes(4000 * 16);
    const Descriptor file(MakeFile(bytes));
    Submit(copy);
    for (size_t i = 0; i < 4000; i += 500) {
      std::vector<iovec> parts;
      for (size_t j = i; j < i + 500; ++j) {
        parts.push_back({shared_.data + j * 64 + 8, 16});
      }
      ASSERT_EQ(500 * 16, readv(file, parts.data(), 500)) << strerror(errno);
    }
    ASSERT_EQ(VK_SUCCESS, vk.QueueWaitIdle(queue));
    for (size_t i = 0; i < 4000; ++i) {
      std::memcpy(&expected_[i * 64 + 8], &bytes[i * 16], 16);
      std::memcpy(&expected_[i * 64 + 32], source_.data + i * 64 + 32, 16);
    }
    ASSERT_EQ(0, std::memcmp(expected_.data(), shared_.data, kSize)) << "round " << round;
    ASSERT_EQ(expected_, ReadBack(gpu(), shared_.handle, kSize)) << "round " << round;
  }
}

}  // namespace
}  // namespace vesper::tests
