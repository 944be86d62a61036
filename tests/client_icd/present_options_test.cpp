// SPDX-License-Identifier: Apache-2.0
#include "client_icd/wsi/present_options.h"

#include <gtest/gtest.h>

namespace vesper::client {
namespace {

TEST(PresentOptions, NothingIsAskedFor) {
  const PresentOptions options = ReadPresentOptions("");
  EXPECT_TRUE(options.shares);
  EXPECT_EQ(0u, options.jpeg_quality);
  EXPECT_EQ("", options.complaint);
}

TEST(PresentOptions, EachWordAndBoth) {
  EXPECT_FALSE(ReadPresentOptions("copy").shares);
  EXPECT_EQ(1u, ReadPresentOptions("jpeg:1").jpeg_quality);
  const PresentOptions both = ReadPresentOptions("jpeg:100,copy");
  EXPECT_FALSE(both.shares);
  EXPECT_EQ(100u, both.jpeg_quality);
  EXPECT_EQ("", both.complaint);
}

TEST(PresentOptions, WhatIsNoQualityIsComplainedOf) {
  for (const char* words : {"jpeg", "jpeg:", "jpeg:0", "jpeg:101", "jpeg:-5", "jpeg:85.5",
                            "jpeg:99999999999", "png", " copy"}) {
    const PresentOptions options = ReadPresentOptions(words);
    EXPECT_TRUE(options.shares);
    EXPECT_EQ(0u, options.jpeg_quality);
    EXPECT_EQ("expected VESPER_PRESENT to be copy or jpeg:N with N from 1 to 100, got '" +
                  std::string(words) + "', which is ignored",
              options.complaint);
  }
}

TEST(PresentOptions, OneWordDoesNotSpoilTheOther) {
  const PresentOptions options = ReadPresentOptions("jpeg:0,copy");
  EXPECT_FALSE(options.shares);
  EXPECT_NE("", options.complaint);
}

}  // namespace
}  // namespace vesper::client
