// The text of a registry is what Prometheus accepts, whatever is counted and however exports are
// named.
#include "common/metrics/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <thread>

namespace nbdstack {
namespace {

using std::chrono::nanoseconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr Metric kThings{"things_total", MetricKind::counter, "Things"};
constexpr Metric kSeats{"seats", MetricKind::gauge, "Seats"};
constexpr Metric kSince{"since", MetricKind::gauge, "Since when", Together::smallest};
constexpr Metric kTook{"took_seconds", MetricKind::histogram, "How long"};

struct RegistryTest : ::testing::Test {
  MetricsRegistry registry{"vm1", "cache"};
};

TEST_F(RegistryTest, ACounterOfManyThreadsIsOneNumber) {
  const Counter counter = registry.counter(kThings, {{"op", "read"}});
  std::vector<std::thread> threads;
  threads.reserve(9);
  for (int i = 0; i < 9; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) counter.add(3);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(registry.text(),
            "# HELP things_total Things\n"
            "# TYPE things_total counter\n"
            "things_total{stack=\"vm1\",layer=\"cache\",op=\"read\"} 27000\n");
}

// 100 threads at once are more than have a shard of their own; then others take what they leave.
TEST_F(RegistryTest, NothingIsLostWhenShardsAreSharedAndHandedOn) {
  const Counter counter = registry.counter(kThings, {});
  for (int round = 0; round < 3; ++round) {
    std::latch all_count(100);
    std::vector<std::thread> threads;
    threads.reserve(100);
    for (int i = 0; i < 100; ++i) {
      threads.emplace_back([&] {
        counter.add();
        all_count.arrive_and_wait();
        for (int j = 0; j < 1000; ++j) counter.add();
      });
    }
    for (auto& thread : threads) thread.join();
  }
  EXPECT_THAT(registry.text(), HasSubstr("} 300300\n"));
}

TEST_F(RegistryTest, ASeriesThatIsAskedForAgainIsTheSame) {
  registry.counter(kThings, {{"op", "read"}}).add();
  registry.counter(kThings, {{"op", "read"}}).add();
  registry.counter(kThings, {{"op", "write"}}).add();
  EXPECT_THAT(registry.text(), HasSubstr("op=\"read\"} 2\n"));
  EXPECT_THAT(registry.text(), HasSubstr("op=\"write\"} 1\n"));
}

// Other threads fall into other shards: what one adds another takes away.
TEST_F(RegistryTest, AGaugeThatOthersLowerIsTheirSum) {
  const Gauge gauge = registry.gauge(kSeats, {});
  for (int i = 0; i < 3; ++i) std::thread([&] { gauge.add(5); }).join();
  for (int i = 0; i < 3; ++i) std::thread([&] { gauge.add(-4); }).join();
  EXPECT_THAT(registry.text(), HasSubstr("} 3\n"));
  gauge.add(-10);
  EXPECT_THAT(registry.text(), HasSubstr("} -7\n"));
}

TEST_F(RegistryTest, MoreSeriesThanAChunkHasCellsAreAllKept) {
  std::vector<Histogram> histograms;
  for (int i = 0; i < 100; ++i) {
    histograms.push_back(registry.histogram(kTook, {{"n", std::to_string(i)}}));
    histograms.back().observe(nanoseconds(1));
  }
  for (const Histogram& histogram : histograms) histogram.observe(nanoseconds(1));
  const std::string text = registry.text();
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(text,
                HasSubstr(fmt::format("took_seconds_count{{stack=\"vm1\",layer=\"cache\",n=\"{}"
                                      "\"}} 2\n",
                                      i)));
  }
}

TEST(HistogramTest, ABoundBelongsToTheBucketThatItEnds) {
  EXPECT_EQ(Histogram::bucket_of(0), 0);
  EXPECT_EQ(Histogram::bucket_of(2048), 0);
  EXPECT_EQ(Histogram::bucket_of(2049), 1);
  for (std::size_t bucket = 0; bucket + 1 < Histogram::kBuckets; ++bucket) {
    EXPECT_EQ(Histogram::bucket_of(Histogram::end_of_bucket_ns(bucket)), bucket);
    EXPECT_EQ(Histogram::bucket_of(Histogram::end_of_bucket_ns(bucket) + 1), bucket + 1);
  }
  EXPECT_EQ(Histogram::bucket_of(UINT64_MAX), Histogram::kBuckets - 1);
}

TEST_F(RegistryTest, AHistogramCountsUpToEachBound) {
  const Histogram histogram = registry.histogram(kTook, {});
  histogram.observe(nanoseconds(1000));
  histogram.observe(nanoseconds(3000));
  histogram.observe(std::chrono::hours(1));
  histogram.observe(nanoseconds(-5));  // of a clock that was set back
  const std::string text = registry.text();
  EXPECT_THAT(text,
              HasSubstr("took_seconds_bucket{stack=\"vm1\",layer=\"cache\",le=\"2.048e-06\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("le=\"4.096e-06\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("le=\"68.719476736\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("le=\"+Inf\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("took_seconds_sum{stack=\"vm1\",layer=\"cache\"} 3600.000004"));
  EXPECT_THAT(text, HasSubstr("took_seconds_count{stack=\"vm1\",layer=\"cache\"} 4\n"));
}

TEST_F(RegistryTest, ASampleIsTakenEachTimeAndEndsWithItsOwner) {
  double value = 1.5;
  std::optional<double> maybe;
  {
    const auto seats = registry.sampled(kSeats, {}, [&] { return std::optional(value); });
    const auto since = registry.sampled(kSince, {}, [&] { return maybe; });
    EXPECT_THAT(registry.text(), HasSubstr("seats{stack=\"vm1\",layer=\"cache\"} 1.5\n"));
    EXPECT_THAT(registry.text(), Not(HasSubstr("since")));
    value = 2;
    maybe = 1e9 + 0.25;
    EXPECT_THAT(registry.text(), HasSubstr("seats{stack=\"vm1\",layer=\"cache\"} 2\n"));
    EXPECT_THAT(registry.text(), HasSubstr("} 1000000000.25\n"));
  }
  EXPECT_EQ(registry.text(), "");
}

TEST_F(RegistryTest, TwoSamplesOfASeriesAreOneLine) {
  const auto one = registry.sampled(kSeats, {}, [] { return std::optional(3.0); });
  const auto two = registry.sampled(kSeats, {}, [] { return std::optional(4.0); });
  const auto early = registry.sampled(kSince, {}, [] { return std::optional(30.0); });
  const auto late = registry.sampled(kSince, {}, [] { return std::optional(40.0); });
  EXPECT_THAT(registry.text(), HasSubstr("seats{stack=\"vm1\",layer=\"cache\"} 7\n"));
  EXPECT_THAT(registry.text(), HasSubstr("since{stack=\"vm1\",layer=\"cache\"} 30\n"));
}

TEST(LabelTextTest, NoNameOfAnExportBreaksTheText) {
  EXPECT_EQ(label_text({}), "");
  EXPECT_EQ(label_text({{"export", "a\"b\\c"}}), R"({export="a\"b\\c"})");
  EXPECT_EQ(label_text({{"export", "a\nb\xff"}, {"op", ""}}), R"({export="a\\x0ab\\xff",op=""})");
}

TEST_F(RegistryTest, ManyNamesOfExportsShareOneLabel) {
  for (std::size_t i = 0; i < MetricsRegistry::kMostExports; ++i) {
    EXPECT_EQ(registry.export_label(std::to_string(i)), std::to_string(i));
  }
  EXPECT_EQ(registry.export_label("one more"), "(others)");
  EXPECT_EQ(registry.export_label("another"), "(others)");
  EXPECT_EQ(registry.export_label("7"), "7");
}

TEST(MetricsTest, NothingIsCountedIfNobodyMeasures) {
  const Metrics off;
  off.counter(kThings).add();
  off.gauge(kSeats).add(1);
  const Histogram histogram = off.histogram(kTook);
  EXPECT_FALSE(histogram.is_on());
  histogram.observe(nanoseconds(1));
  const auto sampled = off.sampled(kSeats, [] { return std::optional(1.0); });
}

TEST(MetricsTest, AllSeriesHaveTheLabelsOfTheirHolder) {
  MetricsRegistry registry("vm1", "s3");
  const Metrics metrics(registry, {{"export", "a"}});
  metrics.counter(kThings, {{"op", "read"}}).add();
  EXPECT_THAT(registry.text(),
              HasSubstr("{stack=\"vm1\",layer=\"s3\",export=\"a\",op=\"read\"} 1"));
}

TEST(SampleTest, OneOfSoManyCallsOfAThreadIsMeasured) {
  std::thread([] {
    unsigned samples = 0;
    for (unsigned i = 0; i < 100 * ThreadShard::kCallsForSample; ++i) {
      samples += ThreadShard::of_this_thread().is_sample() ? 1 : 0;
    }
    EXPECT_EQ(samples, 100);
  }).join();
}

}  // namespace
}  // namespace nbdstack
