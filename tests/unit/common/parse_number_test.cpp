#include "common/parse_number.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace nbdstack {
namespace {

TEST(ParseNumberTest, TakesTheWholeTextOrNothing) {
  std::uint32_t value = 7;
  for (const char* text : {"", " 1", "1 ", "1k", "-1", "+1", "0x1", "4294967296"}) {
    EXPECT_FALSE(parse_number(text, value)) << text;
    EXPECT_EQ(value, 7U) << text;
  }
  EXPECT_TRUE(parse_number("4294967295", value));
  EXPECT_EQ(value, 4294967295U);
}

TEST(ParseNumberTest, HasTheSignAndTheBaseOfItsCaller) {
  int value = 0;
  EXPECT_TRUE(parse_number("-5", value));
  EXPECT_EQ(value, -5);
  EXPECT_TRUE(parse_number("00ff", value, 16));
  EXPECT_EQ(value, 255);
}

}  // namespace
}  // namespace nbdstack
