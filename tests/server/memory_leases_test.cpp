// SPDX-License-Identifier: Apache-2.0
#include "server/memory_leases.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/framework/random.h"

namespace vesper::server {
namespace {

constexpr uint64_t kMiB = 1u << 20;

VkDeviceMemory Memory(uint64_t number) { return reinterpret_cast<VkDeviceMemory>(number); }

TEST(MemoryLeases, APartOfWhatIsAvailable) {
  MemoryLeases leases;
  EXPECT_TRUE(leases.IsLow(0));
  EXPECT_EQ(leases.Renew(0, 80 * kMiB).size, 10 * kMiB);
  EXPECT_FALSE(leases.IsLow(0));
  EXPECT_EQ(leases.Renew(0, 80 * kMiB).size, 0u) << "it has been lent";
  EXPECT_TRUE(leases.IsLow(1)) << "each heap has its own";
}

TEST(MemoryLeases, LittleIsNotLent) {
  MemoryLeases leases;
  EXPECT_EQ(leases.Renew(0, 7 * kMiB).size, 0u);
  EXPECT_EQ(leases.Renew(0, 0).size, 0u);
}

TEST(MemoryLeases, WhatIsTakenIsLentAnew) {
  MemoryLeases leases;
  leases.Renew(0, 80 * kMiB);
  leases.Allocate(Memory(1), 0, 4 * kMiB, true);
  EXPECT_FALSE(leases.IsLow(0)) << "more than half is left";
  leases.Allocate(Memory(2), 0, 2 * kMiB, true);
  EXPECT_TRUE(leases.IsLow(0));
  EXPECT_EQ(leases.Renew(0, 72 * kMiB).size, 5 * kMiB) << "9 MiB with the 4 that are left";
  EXPECT_EQ(leases.Used(0), 6 * kMiB);
}

TEST(MemoryLeases, WhatWasAskedForIsNotOfTheLease) {
  MemoryLeases leases;
  leases.Renew(0, 80 * kMiB);
  leases.Allocate(Memory(1), 0, 40 * kMiB, false);
  EXPECT_FALSE(leases.IsLow(0));
  EXPECT_EQ(leases.Used(0), 40 * kMiB);
  EXPECT_EQ(leases.Free(Memory(1)), 0u);
  EXPECT_EQ(leases.Used(0), 0u);
  EXPECT_EQ(leases.Free(Memory(1)), uint32_t{VK_MAX_MEMORY_HEAPS}) << "it is not known any more";
}

/// The guest's side, by the rules of PROTOCOL.md, with messages on their way in both directions.
TEST(MemoryLeases, WhatIsPostedIsThere) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    tests::Random random(seed);
    const uint64_t size = random.Between(20, 2000) * kMiB;
    MemoryLeases leases;
    uint64_t guest = 0;       // what it may post
    uint64_t on_the_way = 0;  // lent, and not there yet
    std::map<uint64_t, uint64_t> live;
    std::map<uint64_t, bool> is_leased;
    uint64_t last = 0;
    for (int step = 0; step < 300; ++step) {
      if (leases.IsLow(0)) {
        on_the_way += leases.Renew(0, size - leases.Used(0)).size;
      }
      if (random.OneIn(2)) {
        guest += std::exchange(on_the_way, 0);
      }
      if (!live.empty() && random.OneIn(3)) {
        auto victim = live.begin();
        std::advance(victim, random.Below(live.size()));
        if (is_leased[victim->first]) {
          guest += victim->second;
        }
        EXPECT_EQ(leases.Free(Memory(victim->first)), 0u);
        live.erase(victim);
        continue;
      }
      const uint64_t bytes = random.Between(1, 40) * kMiB / 4;
      const bool fits = bytes <= guest;
      if (fits) {
        guest -= bytes;
      } else {
        guest = 0;
        on_the_way = 0;  // of the round that is over
        leases.Return(0);
        if (leases.Used(0) + bytes > size) {
          continue;  // asked for, and refused
        }
      }
      leases.Allocate(Memory(++last), 0, bytes, fits);
      live[last] = bytes;
      is_leased[last] = fits;
      ASSERT_LE(leases.Used(0), size) << "what is posted is there";
    }
  }
}

}  // namespace
}  // namespace vesper::server
