// SPDX-License-Identifier: Apache-2.0
// One allocation on the host: what is filled, what has a twin, what is compared, and what memory
// that takes. The driver's memory is memory of the test.
#include "server/device_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "proto/decoder.h"
#include "proto/frame.h"
#include "proto/records_gen.h"

namespace vesper::server {
namespace {

using testing::Each;

constexpr uint64_t kGuestSize = 1u << 20;

// Takes what the host says and keeps the patches.
class PatchSink : public transport::Connection {
 public:
  bool Write(std::span<const std::span<const std::byte>> parts) override {
    for (const auto part : parts) {
      bytes_.insert(bytes_.end(), part.begin(), part.end());
    }
    return true;
  }
  size_t ReadSome(std::span<std::byte>) override { return 0; }
  void Shutdown() override {}
  bool PeerIsGone() const override { return false; }
  std::string Error() const override { return {}; }
  std::string Peer() const override { return "sink"; }
  bool IsLocal() const override { return true; }

  // Bytes that were pushed since the last time, and their patches applied to `guest`.
  size_t ApplyTo(std::byte* guest) {
    size_t pushed = 0;
    for (size_t at = 0; at < bytes_.size();) {
      uint32_t size = 0;
      std::memcpy(&size, bytes_.data() + at, sizeof(size));
      const std::span frame(bytes_.data() + at + proto::kFrameHeaderBytes, size);
      // Command header, memory, size, pointer slot, and then the patch.
      const std::span<const std::byte> patch =
          frame.subspan(proto::kCommandHeaderBytes + sizeof(proto::Args_vesperPushMemory));
      proto::PatchReader reader(patch);
      while (const std::optional<proto::PatchEntry> entry = reader.Next()) {
        proto::ApplyEntry(*entry, guest, entry->offset, entry->end());
        pushed += entry->bytes.size();
      }
      at += proto::kFrameHeaderBytes + size;
    }
    bytes_.clear();
    return pushed;
  }

 private:
  std::vector<std::byte> bytes_;
};

// A handle is the address of the memory.
VKAPI_ATTR VkResult VKAPI_CALL MapMemory(VkDevice, VkDeviceMemory memory, VkDeviceSize,
                                         VkDeviceSize, VkMemoryMapFlags, void** data) {
  *data = reinterpret_cast<void*>(memory);
  return VK_SUCCESS;
}

class Allocation {
 public:
  explicit Allocation(uint64_t size) : size_(size) {
    data_ = static_cast<std::byte*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    ::madvise(data_, size, MADV_NOHUGEPAGE);
  }
  ~Allocation() { ::munmap(data_, size_); }
  std::byte* data() { return data_; }
  uint64_t size() const { return size_; }
  // Pages that take memory.
  size_t Resident() const {
    std::vector<unsigned char> pages((size_ + 4095) / 4096);
    EXPECT_EQ(::mincore(data_, size_, pages.data()), 0);
    return static_cast<size_t>(
        std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; }));
  }

 private:
  std::byte* data_;
  const uint64_t size_;
};

class DeviceMemory : public testing::Test {
 protected:
  DeviceMemory() { vk_.vkMapMemory = MapMemory; }

  std::shared_ptr<HostMemory> Make(Allocation& allocation, uint64_t birth = 0) {
    return std::make_shared<HostMemory>(
        vk_, VK_NULL_HANDLE,
        HostMemory::Info{proto::MakeObjectId(proto::HandleType::kDeviceMemory, 1, 0),
                         reinterpret_cast<VkDeviceMemory>(allocation.data()), allocation.size(),
                         true, 64, false, nullptr, 0, birth});
  }
  void GuestWrites(HostMemory& memory, uint64_t offset, const std::vector<std::byte>& bytes) {
    proto::Buffer patch;
    patch.PutValue(offset);
    patch.PutValue<uint64_t>(bytes.size());
    patch.Put(bytes.data(), bytes.size());
    ASSERT_TRUE(memory.Write(patch.Bytes()));
  }

  DeviceTable vk_;
  PatchSink sink_;
  Statistics statistics_;
  Outbox outbox_{sink_, statistics_};
  std::vector<std::byte> guest_ = std::vector<std::byte>(kGuestSize);
};

TEST_F(DeviceMemory, TheFirstMapMakesBothSidesZero) {
  Allocation allocation(kGuestSize);
  std::fill_n(allocation.data(), kGuestSize, std::byte{0xcd});
  const auto memory = Make(allocation);
  memory->SetWritable(0, kGuestSize, Writers::kShaders);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u) << "what was there is nobody's business";
  EXPECT_THAT(std::vector<std::byte>(allocation.data(), allocation.data() + kGuestSize),
              Each(std::byte{0}));
}

TEST_F(DeviceMemory, WhatWorkMayHaveWrittenBeforeTheFirstMapIsKept) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  memory->SetWritable(0, 64 << 10, Writers::kTransfers);
  const ByteRanges done(100, 200);
  const ByteRanges under_way(4000, 5000);
  memory->PushWritten({&done}, outbox_);
  std::fill_n(allocation.data(), kGuestSize, std::byte{0xcd});
  ASSERT_EQ(memory->Map({&under_way}, outbox_), VK_SUCCESS);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 1100u);
  EXPECT_EQ(allocation.data()[99], std::byte{0});
  EXPECT_EQ(allocation.data()[100], std::byte{0xcd});
  EXPECT_EQ(allocation.data()[4999], std::byte{0xcd}) << "the work is still writing it";
  EXPECT_EQ(std::memcmp(guest_.data(), allocation.data(), kGuestSize), 0);
}

TEST_F(DeviceMemory, EarlierWorkReachesItByAddressOnly) {
  for (const Writers writers : {Writers::kShaders, Writers::kAny}) {
    Allocation allocation(kGuestSize);
    const auto memory = Make(allocation, 5);
    memory->SetWritable(0, 1000, writers);
    std::fill_n(allocation.data(), kGuestSize, std::byte{0xcd});
    memory->PushWritten({nullptr, true, false, 5}, outbox_);
    ASSERT_EQ(memory->Map({nullptr, false, true, 4}, outbox_), VK_SUCCESS);
    EXPECT_EQ(sink_.ApplyTo(guest_.data()), writers == Writers::kAny ? 1000u : 0u);
    EXPECT_EQ(allocation.data()[0], writers == Writers::kAny ? std::byte{0xcd} : std::byte{0});
    allocation.data()[1] = std::byte{7};
    memory->PushWritten({nullptr, true, false, 6}, outbox_);
    EXPECT_EQ(sink_.ApplyTo(guest_.data()), 1u);
    memory->Retire();
  }
}

TEST_F(DeviceMemory, MemoryThatNobodyTouchesTakesNone) {
  Allocation allocation(uint64_t{4} << 30);
  const auto memory = Make(allocation);
  memory->SetWritable(0, allocation.size(), Writers::kTransfers);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  EXPECT_EQ(memory->TwinBytes(), 0u);
  EXPECT_LE(allocation.Resident(), 2u) << "filling it would have made the kernel provide it";
  const std::vector<std::byte> megabyte(1 << 20, std::byte{1});
  GuestWrites(*memory, uint64_t{3} << 30, megabyte);
  const ByteRanges written(uint64_t{2} << 30, (uint64_t{2} << 30) + (64 << 10));
  memory->PushWritten({&written}, outbox_);
  EXPECT_LE(memory->TwinBytes(), 1u << 20);
  EXPECT_LE(allocation.Resident(), (2u << 20) / 4096);
}

TEST_F(DeviceMemory, OnlyWhatCanBeWrittenHasATwin) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  memory->SetWritable(0, 4096, Writers::kShaders);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  GuestWrites(*memory, 2048, std::vector<std::byte>(512 << 10, std::byte{7}));
  EXPECT_EQ(memory->TwinBytes(), 4096u);
  EXPECT_EQ(allocation.data()[2048 + (512 << 10) - 1], std::byte{7});
  memory->PushWritten({nullptr, true, true}, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u) << "nothing but the guest's own bytes is there";
}

TEST_F(DeviceMemory, WhatBecomesWritableLaterIsComparedWithWhatTheGuestSent) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  const std::vector<std::byte> bytes(100'000, std::byte{7});
  GuestWrites(*memory, 70'000, bytes);
  std::copy(bytes.begin(), bytes.end(), guest_.begin() + 70'000);
  memory->SetWritable(60'000, 300'000, Writers::kShaders);
  allocation.data()[100'000] = std::byte{9};
  memory->PushWritten({nullptr, true}, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 1u);
  EXPECT_EQ(std::memcmp(guest_.data(), allocation.data(), kGuestSize), 0);
  GuestWrites(*memory, 150'000, std::vector<std::byte>(10, std::byte{8}));
  memory->PushWritten({nullptr, true}, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u);
}

TEST_F(DeviceMemory, PartsOfALineReachTheTwinWhereItCanBeWritten) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  memory->SetWritable(10, 20, Writers::kTransfers);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  proto::Buffer patch;  // bytes 8 to 23 of the first line
  patch.PutValue(uint64_t{1} << 63);
  patch.PutValue(uint64_t{0xffff00});
  const std::vector<std::byte> bytes(16, std::byte{3});
  patch.Put(bytes.data(), bytes.size());
  ASSERT_TRUE(memory->Write(patch.Bytes()));
  std::copy(bytes.begin(), bytes.end(), guest_.begin() + 8);
  memory->SetWritable(0, 64, Writers::kTransfers);
  const ByteRanges line(0, 64);
  memory->PushWritten({&line}, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u);
  allocation.data()[9] = std::byte{4};
  memory->PushWritten({&line}, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 1u);
  EXPECT_EQ(std::memcmp(guest_.data(), allocation.data(), 64), 0);
}

TEST_F(DeviceMemory, WhatIsNotMappedIsComparedAtTheNextMap) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  memory->SetWritable(0, 8192, Writers::kTransfers);
  memory->SetWritable(8192, 16384, Writers::kShaders);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  memory->Unmap();
  std::fill_n(allocation.data(), 20'000, std::byte{5});
  const ByteRanges some(1000, 1010);
  memory->PushWritten({&some}, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 10u);
  EXPECT_EQ(guest_[1000], std::byte{5});
  memory->Unmap();
  memory->PushWritten({nullptr, true}, outbox_);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 8192u);
  memory->Unmap();
  memory->PushWritten({nullptr, false, true}, outbox_);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 8192u - 10) << "what can be written, and not yet sent";
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u);
}

TEST_F(DeviceMemory, WhatIsDeferredIsPushedWhenItIsFetched) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  memory->SetWritable(0, kGuestSize, Writers::kShaders);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  memory->Defer(1000, 5000);
  std::fill_n(allocation.data(), 6000, std::byte{1});
  const WrittenParts all{nullptr, true, false};
  memory->PushWritten(all, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 2000u) << "all but what is deferred";
  memory->Fetch(2000, 3000, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 1000u);
  EXPECT_EQ(guest_[2000], std::byte{1});
  EXPECT_EQ(guest_[3000], std::byte{0});
  memory->Fetch(2000, 3000, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u);
  // What was fetched is pushed again, the rest is not.
  std::fill_n(allocation.data(), 6000, std::byte{2});
  memory->PushWritten(all, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 3000u);
  memory->Fetch(0, kGuestSize, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 3000u);
  EXPECT_EQ(std::memcmp(guest_.data(), allocation.data(), kGuestSize), 0);
}

TEST_F(DeviceMemory, FetchingWhatNoWorkWroteComparesNothing) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  memory->SetWritable(0, kGuestSize, Writers::kShaders);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  memory->Defer(0, kGuestSize);
  const ByteRanges written(100, 200);
  memory->PushWritten({&written}, outbox_);
  std::fill_n(allocation.data(), 1000, std::byte{1});
  memory->Fetch(0, kGuestSize, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 100u) << "the rest is of work that is not done yet";
}

TEST_F(DeviceMemory, BothSidesWriteWhatIsDeferred) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  memory->SetWritable(0, kGuestSize, Writers::kShaders);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  memory->Defer(0, kGuestSize);
  std::fill_n(allocation.data(), 64, std::byte{1});
  memory->PushWritten({nullptr, true, false}, outbox_);
  // Sent before the guest fetched: a byte of a page that it emptied.
  GuestWrites(*memory, 7, {std::byte{9}});
  memory->Fetch(0, 4096, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 63u);
  EXPECT_EQ(allocation.data()[7], std::byte{9});
  EXPECT_EQ(allocation.data()[6], std::byte{1});
}

TEST_F(DeviceMemory, MappingAndUnmappingEndDeferring) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  memory->SetWritable(0, kGuestSize, Writers::kShaders);
  const WrittenParts all{nullptr, true, false};
  memory->Defer(0, kGuestSize);  // not mapped: means nothing
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  for (const bool unmaps : {false, true}) {
    memory->Defer(0, kGuestSize);
    allocation.data()[unmaps ? 1 : 0] = std::byte{1};
    memory->PushWritten(all, outbox_);
    EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u);
    if (unmaps) {
      memory->Unmap();
      memory->Fetch(0, kGuestSize, outbox_);
      EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u);
    }
    ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
    EXPECT_EQ(sink_.ApplyTo(guest_.data()), 1u);
    allocation.data()[unmaps ? 3 : 2] = std::byte{1};
    memory->PushWritten(all, outbox_);
    EXPECT_EQ(sink_.ApplyTo(guest_.data()), 1u);
  }
}

TEST_F(DeviceMemory, RetiredMemoryIsLeftAlone) {
  Allocation allocation(kGuestSize);
  const auto memory = Make(allocation);
  memory->SetWritable(0, kGuestSize, Writers::kShaders);
  ASSERT_EQ(memory->Map({}, outbox_), VK_SUCCESS);
  memory->Retire();
  allocation.data()[0] = std::byte{1};
  memory->PushWritten({nullptr, true, true}, outbox_);
  EXPECT_EQ(sink_.ApplyTo(guest_.data()), 0u);
  EXPECT_EQ(memory->Map({}, outbox_), VK_ERROR_MEMORY_MAP_FAILED);
}

TEST(FillWithZeros, FillsWhateverIsThere) {
  Allocation allocation(8 << 20);
  std::fill_n(allocation.data(), 5000, std::byte{1});
  allocation.data()[(4 << 20) + 17] = std::byte{1};
  std::fill_n(allocation.data() + (8 << 20) - 5000, 5000, std::byte{1});
  FillWithZeros(allocation.data() + 1, (8 << 20) - 2, false);
  EXPECT_EQ(allocation.data()[0], std::byte{1});
  EXPECT_EQ(allocation.data()[(8 << 20) - 1], std::byte{1});
  EXPECT_EQ(std::count(allocation.data() + 1, allocation.data() + (8 << 20) - 1, std::byte{0}),
            (8 << 20) - 2);
}

TEST(FillWithZeros, FillsPagesThatAreNotPrivate) {
  void* shared =
      ::mmap(nullptr, 4 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* bytes = static_cast<std::byte*>(shared);
  std::fill_n(bytes, 4 << 20, std::byte{1});
  // The pages are there, and this process's page table has none of them.
  ::madvise(shared, 4 << 20, MADV_DONTNEED);
  FillWithZeros(bytes, 4 << 20, true);
  EXPECT_EQ(std::count(bytes, bytes + (4 << 20), std::byte{0}), 4 << 20);
  ::munmap(shared, 4 << 20);
}

TEST(FillWithZeros, GivesPagesOfAMemfdBack) {
  constexpr size_t kSize = 4 << 20;
  const int file = ::memfd_create("test", MFD_CLOEXEC);
  ASSERT_EQ(::ftruncate(file, kSize), 0);
  void* shared = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  auto* bytes = static_cast<std::byte*>(shared);
  for (const bool may_give_back : {false, true}) {
    std::fill_n(bytes, kSize, std::byte{1});
    FillWithZeros(bytes + 100, kSize - 200, may_give_back);
    struct stat status{};
    ASSERT_EQ(::fstat(file, &status), 0);
    EXPECT_EQ(status.st_blocks * 512 < static_cast<long>(kSize), may_give_back);
    EXPECT_EQ(std::count(bytes, bytes + kSize, std::byte{0}), kSize - 200);
    EXPECT_EQ(bytes[99], std::byte{1});
    EXPECT_EQ(bytes[kSize - 100], std::byte{1});
  }
  ::munmap(shared, kSize);
  ::close(file);
}

}  // namespace
}  // namespace vesper::server
