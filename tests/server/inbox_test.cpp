// SPDX-License-Identifier: Apache-2.0
#include "server/inbox.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "transport/loopback.h"

namespace vesper::server {
namespace {

using proto::FrameType;

class InboxTest : public testing::Test {
 protected:
  InboxTest() {
    std::tie(ours_, theirs_) = transport::MakeLoopback();
    payload_.assign(64, std::byte{5});
  }

  ReceivedFrame MakeFrame() const {
    return {FrameType::kCommands, *proto::FrameMemory::Copy(payload_)};
  }

  std::unique_ptr<transport::Connection> ours_;
  std::unique_ptr<transport::Connection> theirs_;
  std::vector<std::byte> payload_;
  Inbox inbox_{64};
};

TEST_F(InboxTest, GivesBackWhatWasPutIn) {
  ASSERT_TRUE(inbox_.Put({FrameType::kHello, {}}, *ours_));
  ASSERT_TRUE(inbox_.Put(MakeFrame(), *ours_));
  const auto hello = inbox_.Take();
  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->type, FrameType::kHello);
  EXPECT_TRUE(hello->payload().empty());
  const auto commands = inbox_.Take();
  ASSERT_TRUE(commands.has_value());
  EXPECT_EQ(commands->type, FrameType::kCommands);
  EXPECT_EQ(std::vector(commands->payload().begin(), commands->payload().end()), payload_);
}

TEST_F(InboxTest, TakeReturnsAfterItsTimeout) {
  EXPECT_FALSE(inbox_.Take(std::chrono::seconds(0)).has_value());
  EXPECT_FALSE(inbox_.IsClosed());
}

TEST_F(InboxTest, FullInboxWaitsForRoom) {
  ASSERT_TRUE(inbox_.Put(MakeFrame(), *ours_));
  std::thread reader([this] { EXPECT_TRUE(inbox_.Put(MakeFrame(), *ours_)); });
  EXPECT_TRUE(inbox_.Take().has_value());
  EXPECT_TRUE(inbox_.Take().has_value());
  reader.join();
}

TEST_F(InboxTest, PeerThatLeavesEndsTheWaitForRoom) {
  ASSERT_TRUE(inbox_.Put(MakeFrame(), *ours_));
  std::thread reader([this] { EXPECT_FALSE(inbox_.Put(MakeFrame(), *ours_)); });
  theirs_.reset();
  reader.join();
}

TEST_F(InboxTest, WhatAPeerSentBeforeItLeftIsTakenWhileThereIsRoom) {
  theirs_.reset();
  EXPECT_TRUE(inbox_.Put(MakeFrame(), *ours_));
  EXPECT_TRUE(inbox_.Take().has_value());
}

TEST_F(InboxTest, CloseWakesEverybodyAndDropsTheRest) {
  ASSERT_TRUE(inbox_.Put(MakeFrame(), *ours_));
  std::thread reader([this] { EXPECT_FALSE(inbox_.Put(MakeFrame(), *ours_)); });
  inbox_.Close();
  reader.join();
  EXPECT_TRUE(inbox_.IsClosed());
  EXPECT_FALSE(inbox_.Take().has_value());
}

}  // namespace
}  // namespace vesper::server
