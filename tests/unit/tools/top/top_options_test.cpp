// The command line of nbdstack-top.
#include "tools/top/top_options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.hpp"

namespace nbdstack {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TopOptions top_options(std::vector<std::string> words) {
  words.insert(words.begin(), "nbdstack-top");
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return parse_top_options(static_cast<int>(words.size()), pointers.data());
}

std::string top_refusal(const std::vector<std::string>& words) {
  try {
    top_options(words);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(TopOptionsTest, WithoutWordsItShowsAllUntilItIsEnded) {
  const TopOptions options = top_options({});
  EXPECT_EQ(options.action, TopOptions::Action::show);
  EXPECT_EQ(options.interval, std::chrono::seconds(2));
  EXPECT_EQ(options.count, std::nullopt);
  EXPECT_THAT(options.places, Contains("/run/nbdstack"));
}

TEST(TopOptionsTest, AnOptionIsReadInAllForms) {
  EXPECT_EQ(top_options({"--once"}).count, 1);
  EXPECT_EQ(top_options({"-n", "3"}).count, 3);
  EXPECT_EQ(top_options({"-n3"}).count, 3);
  EXPECT_EQ(top_options({"--count=3"}).count, 3);
  EXPECT_EQ(top_options({"--interval", "5"}).interval, std::chrono::seconds(5));
  EXPECT_THAT(top_options({"/tmp"}).places, ElementsAre("/tmp"));
  EXPECT_EQ(top_options({"--help"}).action, TopOptions::Action::help);
  EXPECT_EQ(top_options({"--version"}).action, TopOptions::Action::version);
}

TEST(TopOptionsTest, WhatIsWrongIsNamed) {
  EXPECT_THAT(top_refusal({"--frob"}), HasSubstr("--frob is no option"));
  EXPECT_THAT(top_refusal({"-x"}), HasSubstr("-x is no option"));
  EXPECT_THAT(top_refusal({"-n", "0"}), HasSubstr("--count=0"));
  EXPECT_THAT(top_refusal({"--interval=0.5"}), HasSubstr("--interval=0.5"));
  EXPECT_THAT(top_refusal({"/nonexistent"}), HasSubstr("/nonexistent"));
  EXPECT_THROW(top_options({"--prices=/nonexistent"}), Error);
}

}  // namespace
}  // namespace nbdstack
