// Mean and percentile are those of the interval, within the bounds of a bucket.
#include "tools/top/latency.hpp"

#include <gtest/gtest.h>

#include "tests/unit/tools/top/layer_at.hpp"

namespace nbdstack {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

struct LatencyTest : ::testing::Test {
  void observe(int count, std::chrono::nanoseconds duration) {
    const Histogram histogram =
        registry.histogram(metric::kRequestSeconds, {{"export", ""}, {"op", "read"}});
    for (int i = 0; i < count; ++i) histogram.observe(duration);
  }
  void remember() { before = layer_of(registry, "cache", milliseconds(0)); }
  [[nodiscard]] std::optional<Latency> latency(const std::string& op = "read") {
    return latency_of({.now = layer_of(registry, "cache", milliseconds(1000)), .before = before},
                      op);
  }

  MetricsRegistry registry{"vm1", "cache"};
  std::optional<LayerSnapshot> before;
};

TEST_F(LatencyTest, WithoutMeasurementsThereIsNone) {
  observe(5, microseconds(3));
  EXPECT_FALSE(latency()) << "one state only";
  remember();
  EXPECT_FALSE(latency()) << "nothing since";
  observe(1, microseconds(3));
  EXPECT_FALSE(latency("write"));
  EXPECT_TRUE(latency());
}

TEST_F(LatencyTest, WhatWasBeforeDoesNotCount) {
  observe(1000, std::chrono::seconds(10));
  remember();
  observe(100, microseconds(3));
  ASSERT_TRUE(latency());
  EXPECT_NEAR(latency()->mean_seconds, 3e-6, 1e-9);
  EXPECT_GT(latency()->p99_seconds, 2.048e-6);
  EXPECT_LE(latency()->p99_seconds, 4.096e-6);
}

TEST_F(LatencyTest, OneOfAHundredIsBehindThePercentile) {
  remember();
  observe(99, microseconds(3));
  observe(1, std::chrono::seconds(10));
  EXPECT_LE(latency()->p99_seconds, 4.097e-6);
  observe(1, std::chrono::seconds(10));
  EXPECT_GT(latency()->p99_seconds, 8);
  EXPECT_LT(latency()->p99_seconds, 18);
}

TEST_F(LatencyTest, BehindTheLastBoundThatBoundIsTold) {
  remember();
  observe(10, std::chrono::hours(1));
  EXPECT_NEAR(latency()->p99_seconds, 68.7, 0.1);
  EXPECT_NEAR(latency()->mean_seconds, 3600, 1e-3);
}

TEST_F(LatencyTest, ExportsAreAddedUp) {
  remember();
  observe(99, microseconds(3));
  const Histogram other =
      registry.histogram(metric::kRequestSeconds, {{"export", "b"}, {"op", "read"}});
  for (int i = 0; i < 99; ++i) other.observe(std::chrono::seconds(10));
  EXPECT_NEAR(latency()->mean_seconds, 5, 0.01);
}

}  // namespace
}  // namespace nbdstack
