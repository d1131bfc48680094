// What is printed.
#include "filters/md5/command/verify_report.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace nbdstack::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

// The time is 2026-03-01 12:00:00 UTC.
Finding finding_of(std::uint64_t block, Damage damage) {
  return {.block = {block},
          .range = {block * 65536, 65536},
          .written_at_s = 1772366400,
          .damage = damage};
}

TEST(VerifyReportTest, LineOfABlock) {
  EXPECT_EQ(line_of(finding_of(12, Damage::lost)),
            "12 offset=786432 length=65536 written=2026-03-01T12:00:00Z lost");
  EXPECT_THAT(line_of(finding_of(1, Damage::old)), EndsWith(" old"));
  EXPECT_THAT(line_of(finding_of(1, Damage::damaged)), EndsWith(" damaged"));
  EXPECT_THAT(line_of(finding_of(1, Damage::unreadable)), EndsWith(" unreadable"));
}

TEST(VerifyReportTest, SummaryNamesWhatThereIs) {
  VerifyResult result{.blocks = 100, .verified = 90};
  EXPECT_EQ(summary_of(result, "f"), "100 blocks: 90 verified, 10 unknown, 0 damaged\n");
  result.doubtful_right = 2;
  result.doubtful_different = 1;
  result.changed = 3;
  result.lost = result.old = result.damaged = result.unreadable = 1;
  EXPECT_EQ(summary_of(result, "f"),
            "100 blocks: 90 verified, 0 unknown, 3 doubtful (2 right, 1 different), 3 changed "
            "meanwhile, 3 damaged (1 lost, 1 old), 1 unreadable\n");
}

TEST(VerifyReportTest, AnotherDisksFileIsCalledThat) {
  VerifyResult result{.blocks = 100, .lost = 1, .damaged = 1};
  EXPECT_THAT(summary_of(result, "/x.md5"), HasSubstr("none of 2 blocks holds what /x.md5 says"));
  result.doubtful_right = 1;
  EXPECT_THAT(summary_of(result, "/x.md5"), ::testing::Not(HasSubstr("none of")));
}

TEST(VerifyReportTest, ProgressInWords) {
  EXPECT_EQ(in_words({.lost = 1, .unreadable = 1, .bytes = 1536}, 49.7),
            "50 %: 1.5 KiB read, 2 damaged");
}

TEST(VerifyReportTest, JsonHasTheSumsAndTheBlocksInOrder) {
  const VerifyResult result{.blocks = 100, .verified = 97, .lost = 1, .unreadable = 1};
  const auto json = nlohmann::json::parse(
      to_json({.md5_file = "/x", .uri = "nbd://h", .size_bytes = 6553600, .block_size = 65536},
              result, {finding_of(12, Damage::lost), finding_of(3, Damage::unreadable)}));
  EXPECT_EQ(json["md5-file"], "/x");
  EXPECT_EQ(json["uri"], "nbd://h");
  EXPECT_EQ(json["size"], 6553600);
  EXPECT_EQ(json["block-size"], 65536);
  EXPECT_EQ(json["unknown"], 1);
  EXPECT_EQ(json["verified"], 97);
  ASSERT_EQ(json["findings"].size(), 2U);
  EXPECT_EQ(json["findings"][0]["block"], 3);
  EXPECT_EQ(json["findings"][0]["state"], "unreadable");
  EXPECT_EQ(json["findings"][1]["offset"], 786432);
  EXPECT_EQ(json["findings"][1]["written"], "2026-03-01T12:00:00Z");
}

}  // namespace
}  // namespace nbdstack::testing
