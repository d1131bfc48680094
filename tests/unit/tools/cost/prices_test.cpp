// A table of prices is read, and what is wrong with one is told by its line.
#include "tools/cost/prices.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.hpp"

namespace nbdstack {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::string& text) {
  try {
    parse_prices(text, "prices");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(PricesTest, WithoutATableTheyAreThoseOfAws) {
  const Prices prices = parse_prices("", "prices");
  EXPECT_EQ(prices.put_per_1000, 0.005);
  EXPECT_EQ(prices.get_per_1000, 0.0004);
  EXPECT_EQ(prices.transfer_per_gb, 0.09);
  EXPECT_FALSE(prices.is_transfer_billed);
  EXPECT_EQ(prices.storage_per_gb_month, 0.023);
}

TEST(PricesTest, ATableChangesWhatItNames) {
  const Prices prices = parse_prices(
      "# our provider\n\nput-per-1000=1\nget-per-1000=0.5\ntransfer=internet\n"
      "transfer-per-gb=0\nstorage-per-gb-month=2e-2",
      "prices");
  EXPECT_EQ(prices.put_per_1000, 1);
  EXPECT_EQ(prices.get_per_1000, 0.5);
  EXPECT_EQ(prices.transfer_per_gb, 0);
  EXPECT_TRUE(prices.is_transfer_billed);
  EXPECT_EQ(prices.storage_per_gb_month, 0.02);
  EXPECT_FALSE(parse_prices("transfer=same-region\n", "prices").is_transfer_billed);
}

TEST(PricesTest, WhatIsWrongIsToldByItsLine) {
  EXPECT_THAT(refusal("\nput-per-1000=cheap\n"), HasSubstr("prices, line 2: put-per-1000=cheap"));
  EXPECT_THAT(refusal("put-per-1000=-1"), HasSubstr("line 1"));
  EXPECT_THAT(refusal("put-per-1000=inf"), HasSubstr("line 1"));
  EXPECT_THAT(refusal("put-per-1000="), HasSubstr("line 1"));
  EXPECT_THAT(refusal("put-per-1000=1 $"), HasSubstr("line 1"));
  EXPECT_THAT(refusal("put-per-100=1"), HasSubstr("there is no price 'put-per-100'"));
  EXPECT_THAT(refusal("put-per-1000"), HasSubstr("no line key=value"));
  EXPECT_THAT(refusal("get-per-1000=1\nget-per-1000=1\n"),
              HasSubstr("line 2: a price is set twice"));
  EXPECT_THAT(refusal("transfer=0"), HasSubstr("neither same-region nor internet"));
}

TEST(PricesTest, AFileThatIsNotThereIsNamed) {
  try {
    read_prices("/nonexistent/prices");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_THAT(error.what(), HasSubstr("/nonexistent/prices"));
  }
}

}  // namespace
}  // namespace nbdstack
