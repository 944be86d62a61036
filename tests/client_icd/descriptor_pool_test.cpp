// SPDX-License-Identifier: Apache-2.0
#include "client_icd/descriptor_pool.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/framework/random.h"

namespace vesper::client {
namespace {

using Bindings = std::vector<VkDescriptorSetLayoutBinding>;

VkDescriptorSetLayoutBinding Binding(VkDescriptorType type, uint32_t count) {
  return {0, type, count, VK_SHADER_STAGE_ALL, nullptr};
}

/// With `is_variable` the last binding's number is.
SetDemand Demand(Bindings bindings, bool is_variable = false, uint32_t variable = 0) {
  for (uint32_t i = 0; i < bindings.size(); ++i) {
    bindings[i].binding = i;
  }
  std::vector<VkDescriptorBindingFlags> flags(bindings.size());
  if (is_variable) {
    flags.back() = VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT;
  }
  const auto count = static_cast<uint32_t>(bindings.size());
  const VkDescriptorSetLayoutBindingFlagsCreateInfo flags_info{
      VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO, nullptr, count,
      flags.data()};
  const VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                             &flags_info, 0, count, bindings.data()};
  return {std::make_shared<LayoutDemand>(info), variable};
}

PoolAccount Pool(uint32_t max_sets, const std::vector<VkDescriptorPoolSize>& sizes,
                 uint32_t inline_blocks = 0) {
  const VkDescriptorPoolInlineUniformBlockCreateInfo blocks{
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO, nullptr, inline_blocks};
  return PoolAccount({VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, &blocks, 0, max_sets,
                      static_cast<uint32_t>(sizes.size()), sizes.data()});
}

constexpr VkDescriptorType kUniform = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER;
constexpr VkDescriptorType kStorage = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
constexpr VkDescriptorType kInline = VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK;

TEST(PoolAccount, NoMoreSetsThanItIsFor) {
  PoolAccount pool = Pool(2, {});
  EXPECT_TRUE(pool.Take(Demand({})));
  EXPECT_TRUE(pool.Take(Demand({})));
  EXPECT_FALSE(pool.Take(Demand({})));
}

TEST(PoolAccount, NoMoreDescriptorsOfEachType) {
  PoolAccount pool = Pool(100, {{kUniform, 3}, {kStorage, 2}, {kUniform, 2}});
  EXPECT_TRUE(pool.Take(Demand({Binding(kUniform, 4), Binding(kStorage, 0)})))
      << "sizes of one type add up";
  EXPECT_TRUE(pool.Take(Demand({Binding(kUniform, 1), Binding(kStorage, 1)})));
  const SetDemand over = Demand({Binding(kUniform, 1)});
  EXPECT_FALSE(pool.Take(over));
  pool.Cancel(over);
  EXPECT_TRUE(pool.Take(Demand({Binding(kStorage, 1)})));
}

TEST(PoolAccount, BindingsOfOneTypeAddUp) {
  PoolAccount pool = Pool(100, {{kUniform, 3}});
  EXPECT_FALSE(pool.Take(Demand({Binding(kUniform, 2), Binding(kUniform, 2)})));
}

TEST(PoolAccount, ATypeThatThePoolHasNoneOf) {
  PoolAccount pool = Pool(100, {{kUniform, 3}});
  EXPECT_FALSE(pool.Take(Demand({Binding(kStorage, 1)})));
}

TEST(PoolAccount, InlineBlocksCountByBytesAndByNumber) {
  PoolAccount pool = Pool(100, {{kInline, 64}}, 2);
  EXPECT_TRUE(pool.Take(Demand({Binding(kInline, 16)})));
  EXPECT_TRUE(pool.Take(Demand({Binding(kInline, 16)})));
  EXPECT_FALSE(pool.Take(Demand({Binding(kInline, 16)}))) << "two blocks, 48 bytes";
  pool.Reset();
  EXPECT_FALSE(pool.Take(Demand({Binding(kInline, 80)}))) << "one block, 80 bytes";
}

TEST(PoolAccount, VariableNumbers) {
  PoolAccount pool = Pool(100, {{kStorage, 10}});
  const Bindings bindings{Binding(kStorage, 2), Binding(kStorage, 1000)};
  EXPECT_TRUE(pool.Take(Demand(bindings, true, 5))) << "not the thousand that the layout allows";
  EXPECT_TRUE(pool.Take(Demand(bindings, true, 1)));
  EXPECT_FALSE(pool.Take(Demand(bindings, true, 0)));
}

TEST(PoolAccount, TypesThatChangeAreTheDriversAffair) {
  EXPECT_FALSE(Pool(10, {{VK_DESCRIPTOR_TYPE_MUTABLE_EXT, 9}}).Take(Demand({})));
  PoolAccount pool = Pool(10, {{kUniform, 9}});
  EXPECT_FALSE(pool.Take(Demand({Binding(VK_DESCRIPTOR_TYPE_MUTABLE_EXT, 1)})));
  EXPECT_FALSE(pool.Take(Demand({Binding(kUniform, 1)}))) << "who knows what the other took";
  pool.Reset();
  EXPECT_TRUE(pool.Take(Demand({Binding(kUniform, 1)})));
  EXPECT_FALSE(pool.Take({})) << "a layout that is not known";
}

TEST(PoolAccount, AfterAFreeOnlySetsThatAreAllTheSameAreCertain) {
  const SetDemand one = Demand({Binding(kUniform, 1)});
  const SetDemand as_much = Demand({Binding(kUniform, 1)});
  const SetDemand two = Demand({Binding(kUniform, 2)});
  PoolAccount same = Pool(10, {{kUniform, 20}});
  EXPECT_TRUE(same.Take(one));
  same.Free(one);
  EXPECT_TRUE(same.Take(as_much)) << "another layout, and the same descriptors";
  EXPECT_FALSE(same.Take(two)) << "it may be in pieces";
  EXPECT_FALSE(same.Take(one)) << "as long as there is a set of another size";
  same.Reset();
  EXPECT_TRUE(same.Take(two));
  EXPECT_TRUE(same.Take(one)) << "nothing was freed since the reset";
}

TEST(PoolAccount, VariableNumbersMakeSetsDiffer) {
  const Bindings bindings{Binding(kStorage, 100)};
  PoolAccount pool = Pool(10, {{kStorage, 20}});
  const SetDemand first = Demand(bindings, true, 3);
  EXPECT_TRUE(pool.Take(first));
  pool.Free(first);
  EXPECT_TRUE(pool.Take(Demand(bindings, true, 3)));
  EXPECT_FALSE(pool.Take(Demand(bindings, true, 4)));
}

/// A driver that gives exactly what the specification promises: a row of places for each type,
/// first fit, so that it fragments.
class FirstFit {
 public:
  FirstFit(uint32_t max_sets, std::map<VkDescriptorType, uint32_t> sizes) : max_sets_(max_sets) {
    for (const auto& [type, size] : sizes) {
      rows_[type].assign(size, 0);
    }
  }

  bool Allocate(uint32_t set, const std::map<VkDescriptorType, uint32_t>& counts) {
    if (sets_ == max_sets_) {
      return false;
    }
    for (const auto& [type, count] : counts) {
      if (!Place(rows_[type], set, count)) {
        Remove(set);
        return false;
      }
    }
    ++sets_;
    return true;
  }
  void Free(uint32_t set) {
    Remove(set);
    --sets_;
  }
  void Reset() {
    for (auto& [type, row] : rows_) {
      std::fill(row.begin(), row.end(), 0);
    }
    sets_ = 0;
  }

 private:
  static bool Place(std::vector<uint32_t>& row, uint32_t set, uint32_t count) {
    uint32_t run = 0;
    for (size_t i = 0; i < row.size() && run < count; ++i) {
      run = row[i] == 0 ? run + 1 : 0;
      if (run == count) {
        std::fill_n(row.begin() + static_cast<ptrdiff_t>(i + 1 - count), count, set);
      }
    }
    return run == count;
  }
  void Remove(uint32_t set) {
    for (auto& [type, row] : rows_) {
      std::replace(row.begin(), row.end(), set, 0u);
    }
  }

  uint32_t max_sets_;
  uint32_t sets_ = 0;
  std::map<VkDescriptorType, std::vector<uint32_t>> rows_;
};

TEST(PoolAccount, WhatItIsSureOfSucceeds) {
  size_t certain = 0;
  size_t refused = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    tests::Random random(seed);
    const auto max_sets = static_cast<uint32_t>(random.Between(1, 20));
    const auto uniforms = static_cast<uint32_t>(random.Below(40));
    const auto storages = static_cast<uint32_t>(random.Below(40));
    PoolAccount account = Pool(max_sets, {{kUniform, uniforms}, {kStorage, storages}});
    FirstFit driver(max_sets, {{kUniform, uniforms}, {kStorage, storages}});
    std::map<uint32_t, SetDemand> live;
    const bool are_alike = seed % 3 == 0;
    uint32_t last = 0;
    for (int step = 0; step < 200; ++step) {
      SCOPED_TRACE(std::to_string(seed) + ", " + std::to_string(step));
      if (random.OneIn(60)) {
        account.Reset();
        driver.Reset();
        live.clear();
      } else if (!live.empty() && random.OneIn(3)) {
        auto victim = live.begin();
        std::advance(victim, random.Below(live.size()));
        account.Free(victim->second);
        driver.Free(victim->first);
        live.erase(victim);
      } else {
        const auto a = static_cast<uint32_t>(are_alike ? 2 : random.Below(5));
        const auto b = static_cast<uint32_t>(are_alike ? 1 : random.Below(5));
        const SetDemand demand = Demand({Binding(kUniform, a), Binding(kStorage, b)});
        const bool is_certain = account.Take(demand);
        const bool is_done = driver.Allocate(++last, {{kUniform, a}, {kStorage, b}});
        EXPECT_TRUE(is_done || !is_certain);
        certain += is_certain ? 1 : 0;
        refused += is_done ? 0 : 1;
        if (is_done) {
          live[last] = demand;
        } else {
          account.Cancel(demand);
        }
      }
    }
  }
  EXPECT_GT(certain, 1000u);
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace vesper::client
