// The parser reads what a registry writes, and refuses as a whole what is not that.
#include "tools/stacks/exposition.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/metrics/registry.hpp"

namespace nbdstack {
namespace {

constexpr Metric kThings{"things_total", MetricKind::counter, "Things"};
constexpr Metric kSeats{"seats", MetricKind::gauge, "Seats"};
constexpr Metric kTook{"took_seconds", MetricKind::histogram, "How long"};

constexpr const char* kHead = "# HELP a_total A\n# TYPE a_total counter\n";

bool is_accepted(const std::string& text) {
  return parse_exposition(text).has_value();
}

std::string written_again(const std::vector<Family>& families) {
  std::string text;
  for (const Family& family : families) text += text_of(family);
  return text;
}

TEST(ExpositionTest, WhatARegistryWritesIsReadAndWrittenAgain) {
  MetricsRegistry registry("vm1", "cache");
  registry.counter(kThings, {{"export", "a\"b\\c\n\xff"}}).add(1ULL << 63U);
  registry.gauge(kSeats, {}).add(-3);
  registry.histogram(kTook, {{"op", "read"}}).observe(std::chrono::milliseconds(3));
  const std::string text = registry.text();
  const auto families = parse_exposition(text);
  ASSERT_TRUE(families);
  EXPECT_EQ(written_again(*families), text);
  const Family* const things = find_family(*families, "things_total");
  ASSERT_NE(things, nullptr);
  EXPECT_EQ(things->type, "counter");
  EXPECT_EQ(things->help, "Things");
  ASSERT_EQ(things->series.size(), 1);
  EXPECT_EQ(things->series[0].label("export"), "a\"b\\c\\x0a\\xff");
  EXPECT_EQ(things->series[0].label("none"), "");
  EXPECT_EQ(things->series[0].value_text, "9223372036854775808");
  EXPECT_EQ(things->series[0].value, 9223372036854775808.0);
  EXPECT_EQ(find_family(*families, "took_seconds")->series.size(), Histogram::kBuckets + 2);
  EXPECT_EQ(find_family(*families, "none"), nullptr);
}

TEST(ExpositionTest, NothingIsATextWithoutFamilies) {
  EXPECT_TRUE(is_accepted(""));
  EXPECT_TRUE(is_accepted(kHead));
}

TEST(ExpositionTest, NoPartOfATextIsTakenForTheWhole) {
  MetricsRegistry registry("vm1", "cache");
  registry.counter(kThings, {{"op", "read"}}).add(27);
  const std::string text = registry.text();
  const std::size_t end_of_head = text.rfind('\n', text.size() - 2) + 1;
  for (std::size_t length = 1; length < text.size(); ++length) {
    if (length == end_of_head) continue;  // a family without series
    EXPECT_FALSE(is_accepted(text.substr(0, length))) << length;
  }
}

TEST(ExpositionTest, WhatNoRegistryWritesIsRefused) {
  const auto refused = [](const std::string& lines) { return !is_accepted(kHead + lines); };
  EXPECT_FALSE(refused("a_total 1\n"));
  EXPECT_FALSE(refused("a_total{b=\"\"} 1e9\n"));
  EXPECT_TRUE(refused("b_total 1\n")) << "a series of no family";
  EXPECT_TRUE(refused("a_total 1\na_total 2\n")) << "a series twice";
  EXPECT_TRUE(refused("a_total{b=\"\",c=\"\"} 1\na_total{c=\"\",b=\"\"} 2\n"));
  EXPECT_TRUE(refused("a_total 1 1700000000\n")) << "a timestamp";
  EXPECT_TRUE(refused("a_total one\n"));
  EXPECT_TRUE(refused("a_total \n"));
  EXPECT_TRUE(refused("a_total{} 1\n"));
  EXPECT_TRUE(refused("a_total{b=\"\",} 1\n"));
  EXPECT_TRUE(refused("a_total{b=\"\",b=\"\"} 1\n")) << "a label twice";
  EXPECT_TRUE(refused("a_total{b=\"\\t\"} 1\n")) << "an escape that is none";
  EXPECT_TRUE(refused("a_total{b=\"} 1\n"));
  EXPECT_TRUE(refused("a_total{b=\"\xc3\xa4\"} 1\n")) << "not ASCII";
  EXPECT_TRUE(refused("a_total{b=\"\x1b[2J\"} 1\n")) << "a terminal's command";
  EXPECT_TRUE(refused("\n"));
  EXPECT_TRUE(refused(kHead)) << "a family twice";
  EXPECT_TRUE(refused("# HELP b B\n")) << "a family without a type";
  EXPECT_TRUE(refused("# HELP b B\n# TYPE c gauge\n"));
  EXPECT_TRUE(refused("# HELP b B\n# TYPE b untyped\n"));
  EXPECT_TRUE(refused("# HELP b B\n# TYPE b gauge\nb_sum 1\n"));
  EXPECT_TRUE(refused("# HELP b B\n# TYPE b histogram\nb 1\n"));
}

TEST(PrintableTest, ANameIsWrittenAsALabelHasIt) {
  EXPECT_EQ(printable("vm1"), "vm1");
  EXPECT_EQ(printable("\x1b[2J\xff"), "\\x1b[2J\\xff");
}

}  // namespace
}  // namespace nbdstack
