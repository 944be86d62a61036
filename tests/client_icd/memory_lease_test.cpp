// SPDX-License-Identifier: Apache-2.0
#include "client_icd/memory_lease.h"

#include <gtest/gtest.h>

namespace vesper::client {
namespace {

TEST(MemoryLease, AsMuchAsWasLentAndNoMore) {
  MemoryLease lease;
  EXPECT_FALSE(lease.Take(0, 1)) << "nothing was";
  lease.Grant(0, 0, 100);
  EXPECT_FALSE(lease.Take(1, 1)) << "of another heap";
  EXPECT_TRUE(lease.Take(0, 60));
  EXPECT_FALSE(lease.Take(0, 60));
  EXPECT_TRUE(lease.Take(0, 40));
  lease.Grant(0, 0, 10);
  EXPECT_TRUE(lease.Take(0, 10));
}

TEST(MemoryLease, WhatIsFreedIsThereAgain) {
  MemoryLease lease;
  lease.Grant(0, 0, 100);
  EXPECT_TRUE(lease.Take(0, 100));
  lease.Give(0, 70);
  EXPECT_TRUE(lease.Take(0, 70));
  EXPECT_FALSE(lease.Take(0, 1));
}

TEST(MemoryLease, WhatWasLentBeforeTheHostHeardOfTheReturnIsVoid) {
  MemoryLease lease;
  lease.Grant(0, 0, 100);
  lease.Grant(1, 0, 100);
  lease.Return(0);
  EXPECT_FALSE(lease.Take(0, 1));
  EXPECT_TRUE(lease.Take(1, 100)) << "another heap's is not returned";
  lease.Grant(0, 0, 50);
  EXPECT_FALSE(lease.Take(0, 1));
  lease.Grant(0, 1, 50);
  EXPECT_TRUE(lease.Take(0, 50));
}

}  // namespace
}  // namespace vesper::client
