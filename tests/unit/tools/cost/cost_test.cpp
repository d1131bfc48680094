// Requests are billed by their class and their answer.
#include "tools/cost/cost.hpp"

#include <gtest/gtest.h>

#include "common/metrics/registry.hpp"

namespace nbdstack {
namespace {

struct CostTest : ::testing::Test {
  void count(const char* operation, const char* code, std::uint64_t requests) {
    registry.counter(metric::kS3Requests, {{"op", operation}, {"code", code}}).add(requests);
  }
  [[nodiscard]] LayerSnapshot layer() {
    return {"vm1", "s3", true, true, parse_exposition(registry.text()).value()};
  }
  [[nodiscard]] Usage usage() { return usage_of({layer()}, "vm1"); }

  MetricsRegistry registry{"vm1", "s3"};
};

TEST_F(CostTest, ARequestIsOfItsClass) {
  count("PutObject", "200", 1);
  count("ListObjectsV2", "200", 10);
  count("ListObjectVersions", "200", 100);
  count("GetObject", "206", 1000);
  count("HeadObject", "200", 10000);
  count("CreateSession", "200", 100000);
  count("SomethingNew", "200", 1000000);
  count("DeleteObject", "204", 5);
  count("DeleteObjects", "200", 50);
  EXPECT_EQ(usage().put_requests, 111);
  EXPECT_EQ(usage().get_requests, 1111000);
  EXPECT_EQ(usage().free_requests, 55);
}

TEST_F(CostTest, TheServicesOwnFaultsAreNotBilled) {
  count("GetObject", "503", 1);
  count("GetObject", "500", 10);
  count("GetObject", "301", 100);
  count("GetObject", "307", 1000);
  count("GetObject", "404", 10000);
  count("GetObject", "304", 100000);
  count("GetObject", "none", 1000000);
  EXPECT_EQ(usage().free_requests, 1111);
  EXPECT_EQ(usage().get_requests, 1110000);
}

TEST_F(CostTest, OnlyTheRunningLayersOfTheStackCount) {
  count("GetObject", "200", 3);
  registry.counter(metric::kS3ReceivedBytes, {}).add(50);
  LayerSnapshot killed = layer();
  killed.is_running = false;
  LayerSnapshot other = layer();
  other.stack = "vm2";
  const Usage one = usage_of({layer(), killed, other}, "vm1");
  EXPECT_EQ(one.get_requests, 3);
  EXPECT_EQ(one.received_bytes, 50);
}

TEST(PricedTest, UsageTimesPricesIsCost) {
  Prices prices;
  const Usage usage{.put_requests = 2000,
                    .get_requests = 10000,
                    .free_requests = 1e9,
                    .received_bytes = 3.0 * (1U << 30U)};
  EXPECT_DOUBLE_EQ(cost_of(usage, prices).put, 0.01);
  EXPECT_DOUBLE_EQ(cost_of(usage, prices).get, 0.004);
  EXPECT_EQ(cost_of(usage, prices).transfer, 0) << "in the same region";
  prices.is_transfer_billed = true;
  EXPECT_DOUBLE_EQ(cost_of(usage, prices).transfer, 0.27);
  EXPECT_DOUBLE_EQ(cost_of(usage, prices).total(), 0.284);
  EXPECT_DOUBLE_EQ(storage_a_month(10.0 * (1U << 30U), prices), 0.23);
}

TEST(PricedTest, TheUsageOfAnIntervalIsADifference) {
  const Usage usage = Usage{5, 7, 9, 11} - Usage{1, 2, 3, 4};
  EXPECT_EQ(usage.put_requests, 4);
  EXPECT_EQ(usage.get_requests, 5);
  EXPECT_EQ(usage.free_requests, 6);
  EXPECT_EQ(usage.received_bytes, 7);
}

}  // namespace
}  // namespace nbdstack
