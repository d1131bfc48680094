#include "plugins/s3/http/latency_percentile.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(LatencyPercentileTest, FewSamplesTellNothing) {
  LatencyPercentile latencies;
  for (unsigned i = 1; i < LatencyPercentile::kSamples_min; ++i) latencies.add(milliseconds(1));
  EXPECT_FALSE(latencies.at(99));
  latencies.add(milliseconds(1));
  EXPECT_TRUE(latencies.at(99));
}

TEST(LatencyPercentileTest, IsAtMostAnEighthTooHighAndNeverTooLow) {
  LatencyPercentile latencies;
  for (unsigned ms = 1; ms <= 1000; ++ms) latencies.add(milliseconds(ms));
  for (const unsigned percent : {1U, 10U, 50U, 90U, 99U, 100U}) {
    const Duration exact = milliseconds(10 * percent);
    ASSERT_TRUE(latencies.at(percent));
    EXPECT_GE(*latencies.at(percent), exact) << percent;
    EXPECT_LE(*latencies.at(percent), exact * 9 / 8 + microseconds(1)) << percent;
  }
}

TEST(LatencyPercentileTest, ShortTimesAreExact) {
  LatencyPercentile latencies;
  for (unsigned i = 0; i < 100; ++i) latencies.add(microseconds(i % 8));
  EXPECT_EQ(latencies.at(1), microseconds(1));  // the end of the bucket of 0
  EXPECT_EQ(latencies.at(100), microseconds(8));
}

TEST(LatencyPercentileTest, OneInAHundredDoesNotMatterAndTwoDo) {
  LatencyPercentile latencies;
  for (unsigned i = 0; i < 99; ++i) latencies.add(milliseconds(1));
  latencies.add(milliseconds(900));
  EXPECT_LT(*latencies.at(99), milliseconds(2));
  for (unsigned i = 0; i < 99; ++i) latencies.add(milliseconds(1));
  for (unsigned i = 0; i < 3; ++i) latencies.add(milliseconds(900));
  EXPECT_GT(*latencies.at(99), milliseconds(800));
}

TEST(LatencyPercentileTest, OldTimesAreForgotten) {
  LatencyPercentile latencies;
  for (unsigned i = 0; i < LatencyPercentile::kWindow; ++i) latencies.add(milliseconds(900));
  for (unsigned i = 0; i < LatencyPercentile::kWindow; ++i) latencies.add(milliseconds(1));
  EXPECT_GT(*latencies.at(99), milliseconds(800));
  latencies.add(milliseconds(1));
  EXPECT_LT(*latencies.at(99), milliseconds(2));
}

TEST(LatencyPercentileTest, ExtremesHaveABucket) {
  LatencyPercentile latencies;
  for (unsigned i = 0; i < 100; ++i) {
    latencies.add(hours(1000));
    latencies.add(milliseconds(-5));
  }
  EXPECT_EQ(latencies.at(1), microseconds(1));
  EXPECT_GT(*latencies.at(99), std::chrono::minutes(8));
}

}  // namespace
}  // namespace nbdstack
