// What nbdstack-md5-verify understands.
#include "filters/md5/command/verify_options.hpp"

#include <gtest/gtest.h>

namespace nbdstack::testing {
namespace {

using Words = std::vector<std::string>;

std::string verify_refusal_of(const Words& words) {
  try {
    parse_verify_options(words);
    return "";
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(VerifyOptionsTest, DefaultsAndOptions) {
  const VerifyOptions plain = parse_verify_options({"d.md5", "nbd://h"});
  EXPECT_EQ(plain.md5_file, "d.md5");
  EXPECT_EQ(plain.uri, "nbd://h");
  EXPECT_EQ(plain.requests, 16U);
  EXPECT_FALSE(plain.json || plain.progress || plain.help || plain.version);
  const VerifyOptions all =
      parse_verify_options({"--json", "d.md5", "--requests=1024", "nbd://h", "--progress"});
  EXPECT_EQ(all.uri, "nbd://h");
  EXPECT_EQ(all.requests, 1024U);
  EXPECT_TRUE(all.json && all.progress);
}

TEST(VerifyOptionsTest, HelpAndVersionNeedNothingElse) {
  EXPECT_TRUE(parse_verify_options({"--help"}).help);
  EXPECT_TRUE(parse_verify_options({"--version", "--what"}).version);
}

TEST(VerifyOptionsTest, WhatIsNotUnderstoodIsNamed) {
  const auto names = [](const Words& words, const std::string& named) {
    const std::string refusal = verify_refusal_of(words);
    return refusal.find(named) != std::string::npos;
  };
  EXPECT_TRUE(names({}, "MD5-FILE") || names({}, "md5-file"));
  EXPECT_TRUE(names({"d.md5"}, "URI"));
  EXPECT_TRUE(names({"d.md5", "nbd://h", "more"}, "nothing else"));
  EXPECT_TRUE(names({"--quick", "d.md5", "nbd://h"}, "--quick"));
  EXPECT_TRUE(names({"--json=1", "d.md5", "nbd://h"}, "--json=1"));
  for (const char* number : {"0", "1025", "", "x", "16x", "-1", "99999999999999999999"}) {
    EXPECT_TRUE(names({std::string("--requests=") + number, "d.md5", "nbd://h"}, "1 to 1024"))
        << number;
  }
}

}  // namespace
}  // namespace nbdstack::testing
