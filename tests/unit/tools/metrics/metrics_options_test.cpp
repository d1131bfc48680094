// The command line of nbdstack-metrics.
#include "tools/metrics/metrics_options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.hpp"

namespace nbdstack {
namespace {

using Action = MetricsOptions::Action;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

MetricsOptions parsed(std::vector<std::string> words) {
  words.insert(words.begin(), "nbdstack-metrics");
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return parse_metrics_options(static_cast<int>(words.size()), pointers.data());
}

std::string refusal_of_words(const std::vector<std::string>& words) {
  try {
    parsed(words);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(MetricsOptionsTest, WithoutWordsTheDefaultPlacesArePrinted) {
  const MetricsOptions options = parsed({});
  EXPECT_EQ(options.action, Action::print);
  EXPECT_THAT(options.places, Contains("/run/nbdstack"));
}

TEST(MetricsOptionsTest, AnOptionIsReadInBothForms) {
  EXPECT_EQ(parsed({"--listen=9180"}).listen, "9180");
  EXPECT_EQ(parsed({"--listen", "9180"}).action, Action::listen);
  const MetricsOptions options = parsed({"/", "--file=x.prom", "--interval", "5", "/tmp"});
  EXPECT_EQ(options.action, Action::write_file);
  EXPECT_EQ(options.file, "x.prom");
  EXPECT_EQ(options.interval, std::chrono::seconds(5));
  EXPECT_THAT(options.places, ElementsAre("/", "/tmp"));
  EXPECT_EQ(parsed({"--help"}).action, Action::help);
  EXPECT_EQ(parsed({"--version"}).action, Action::version);
}

TEST(MetricsOptionsTest, WhatIsWrongIsNamed) {
  EXPECT_THAT(refusal_of_words({"--frob"}), HasSubstr("--frob is no option"));
  EXPECT_THAT(refusal_of_words({"--listen"}), HasSubstr("--listen"));
  EXPECT_THAT(refusal_of_words({"--listen=1", "--file=x"}), HasSubstr("give one"));
  EXPECT_THAT(refusal_of_words({"--interval=0"}), HasSubstr("--interval=0"));
  EXPECT_THAT(refusal_of_words({"--interval=1s"}), HasSubstr("--interval=1s"));
  EXPECT_THAT(refusal_of_words({"/nonexistent"}), HasSubstr("/nonexistent"));
  EXPECT_THROW(parsed({"--prices=/nonexistent"}), Error);
}

}  // namespace
}  // namespace nbdstack
