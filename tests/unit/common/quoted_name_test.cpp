// Names chosen by others do not forge the log.
#include "common/quoted_name.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

TEST(QuotedNameTest, PlainNamesStandBetweenQuotes) {
  EXPECT_EQ(quoted_name(""), "''");
  EXPECT_EQ(quoted_name("disk 1/a-b"), "'disk 1/a-b'");
}

TEST(QuotedNameTest, LineEndsAndTerminalControlsAreWrittenOut) {
  EXPECT_EQ(quoted_name("a\nnbdkit: error: b"), "'a\\x0anbdkit: error: b'");
  EXPECT_EQ(quoted_name("\x1b[2J\x7f"), "'\\x1b[2J\\x7f'");
  EXPECT_EQ(quoted_name(std::string_view("a\0b", 3)), "'a\\x00b'");
}

TEST(QuotedNameTest, WhatWouldEndTheQuotesIsWrittenOut) {
  EXPECT_EQ(quoted_name("a' is 'b\\"), "'a\\x27 is \\x27b\\x5c'");
}

TEST(QuotedNameTest, BytesBeyondAsciiAreWrittenOut) {
  EXPECT_EQ(quoted_name("\xc2\x9b"), "'\\xc2\\x9b'");
}

TEST(QuotedNameTest, LongNamesAreCutAndSayHowLongTheyAre) {
  EXPECT_EQ(quoted_name(std::string(64, 'x')), "'" + std::string(64, 'x') + "'");
  EXPECT_EQ(quoted_name(std::string(4096, 'x')), "'" + std::string(64, 'x') + "'... (4096 bytes)");
}

TEST(QuotableTest, IsOnePrintableLineOfBoundedLength) {
  EXPECT_EQ(quotable("a\x1b[1mb\nsecond"), "a?[1mb");
  EXPECT_EQ(quotable(std::string(300, 'x')).size(), 203U);
}

TEST(OneLineTest, ControlsAreWrittenOutAndAllElseStays) {
  EXPECT_EQ(one_line("\xc3\xb6 'a'\\ 1%"), "\xc3\xb6 'a'\\ 1%");
  EXPECT_EQ(one_line("a\nnbdkit: error: b\r\x7f"), "a\\x0anbdkit: error: b\\x0d\\x7f");
  EXPECT_EQ(one_line("\x1b[2J \xc2\x9b"), "\\x1b[2J \xc2\\x9b");
}

}  // namespace
}  // namespace nbdstack
