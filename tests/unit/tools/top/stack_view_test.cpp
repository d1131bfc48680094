// What is shown of a stack, from two states of its layers.
#include "tools/top/stack_view.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/tools/top/layer_at.hpp"
#include "tools/top/screen.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::chrono::system_clock::time_point kNow{std::chrono::seconds(100)};

struct StackViewTest : ::testing::Test {
  StackViewTest() {
    cache.gauge(metric::kLayersBelow, {}).add(1);
    s3.gauge(metric::kLayersBelow, {}).add(0);
    for (auto* const registry : {&cache, &s3}) {
      registry->counter(metric::kRequests, {{"op", "read"}}).add(10);
    }
  }
  void look(milliseconds at) {
    window.take({layer_of(cache, "cache", at), layer_of(s3, "s3", at)});
  }
  [[nodiscard]] StackFigures figures() const {
    return figures_of("vm1", window.stacks().at("vm1"), {}, kNow);
  }

  MetricsRegistry cache{"vm1", "cache"};
  MetricsRegistry s3{"vm1", "s3"};
  RateWindow window;
};

TEST_F(StackViewTest, ClientsAreThoseOfTheUppermostLayer) {
  look(milliseconds(0));
  cache.counter(metric::kRequests, {{"op", "read"}}).add(200);
  cache.counter(metric::kRequestBytes, {{"op", "read"}}).add(8 * kMiB);
  cache.histogram(metric::kRequestSeconds, {{"op", "read"}}).observe(milliseconds(3));
  s3.counter(metric::kRequests, {{"op", "read"}}).add(2000);
  look(milliseconds(2000));
  EXPECT_THAT(figures().layers, ElementsAre("cache", "s3"));
  ASSERT_TRUE(figures().reads);
  EXPECT_EQ(figures().reads->per_second, 100);
  EXPECT_EQ(figures().reads->bytes_per_second, 4 * kMiB);
  EXPECT_NEAR(figures().reads->latency->mean_seconds, 0.003, 1e-6);
  ASSERT_TRUE(figures().writes);
  EXPECT_EQ(figures().writes->per_second, 0);
  EXPECT_FALSE(figures().cache);
  EXPECT_FALSE(figures().service);
}

TEST_F(StackViewTest, TheCacheIsShownIfThereIsOne) {
  double hits = 90;
  const auto sampled = [&](const Metric& metric, double value) {
    return cache.sampled(metric, {}, [value] { return std::optional(value); });
  };
  const auto bytes = sampled(metric::kCacheBytes, 6 * kMiB);
  const auto limit = sampled(metric::kCacheLimitBytes, 8 * kMiB);
  const auto dirty = sampled(metric::kCacheDirtyBytes, 2 * kMiB);
  const auto oldest = sampled(metric::kCacheOldestDirty, 96);
  const auto hit = cache.sampled(metric::kCacheHits, {}, [&] { return std::optional(hits); });
  const auto missed = sampled(metric::kCacheMisses, 10);
  look(milliseconds(0));
  EXPECT_FALSE(figures().cache->hit_ratio) << "there were no reads";
  hits = 120;
  look(milliseconds(1000));
  EXPECT_EQ(figures().cache->hit_ratio, 1.0);
  EXPECT_EQ(figures().cache->bytes, 6 * kMiB);
  EXPECT_EQ(figures().cache->limit_bytes, 8 * kMiB);
  EXPECT_EQ(figures().cache->dirty_bytes, 2 * kMiB);
  EXPECT_EQ(figures().cache->oldest_dirty_seconds, 4);
  const std::string text = fmt::format("{}", fmt::join(lines_of(figures(), 80), "\n"));
  EXPECT_THAT(text, HasSubstr("hits 100.0 %, 6.0 MiB of 8.0 MiB\n"));
  EXPECT_THAT(text, HasSubstr("2.0 MiB, the oldest for 4.0 s\n"));
}

TEST_F(StackViewTest, TheServiceIsShownWithItsCost) {
  s3.counter(metric::kS3Requests, {{"op", "PutObject"}, {"code", "200"}}).add(1000);
  look(milliseconds(0));
  EXPECT_DOUBLE_EQ(figures().service->cost.total(), 0.005);
  EXPECT_FALSE(figures().service->dollars_a_month);
  s3.counter(metric::kS3Requests, {{"op", "PutObject"}, {"code", "200"}}).add(20);
  s3.counter(metric::kS3Requests, {{"op", "GetObject"}, {"code", "200"}}).add(60);
  s3.counter(metric::kS3Requests, {{"op", "DeleteObject"}, {"code", "204"}}).add(10);
  s3.counter(metric::kS3Retries, {}).add(4);
  look(milliseconds(2000));
  EXPECT_EQ(figures().service->puts_per_second, 10);
  EXPECT_EQ(figures().service->gets_per_second, 30);
  EXPECT_EQ(figures().service->removals_per_second, 5);
  EXPECT_EQ(figures().service->retries_per_second, 2);
  EXPECT_NEAR(*figures().service->dollars_a_month, (0.01 * 0.005 + 0.03 * 0.0004) * 2629800, 1e-6);
}

TEST_F(StackViewTest, NoLineIsLongerThanTheWindow) {
  look(milliseconds(0));
  StackFigures stack = figures();
  stack.name = std::string(300, 'x');
  stack.unreadable = {std::string(300, 'y')};
  stack.reads =
      RequestRates{.per_second = 1e9, .bytes_per_second = 1e15, .latency = Latency{1e9, 1e9}};
  stack.cache =
      CacheFigures{.hit_ratio = 1, .bytes = 1e18, .limit_bytes = 1e18, .oldest_dirty_seconds = 1e9};
  stack.service = ServiceFigures{.puts_per_second = 1e12, .dollars_a_month = 1e12};
  for (const std::string& line : lines_of(stack, 60)) EXPECT_LE(line.size(), 60) << line;
}

TEST_F(StackViewTest, SixtyColumnsAreEnoughForABusyStack) {
  look(milliseconds(0));
  StackFigures stack = figures();
  stack.reads = RequestRates{
      .per_second = 123456, .bytes_per_second = 999.9 * kMiB, .latency = Latency{999e-6, 999.9e-3}};
  stack.cache = CacheFigures{.hit_ratio = 1,
                             .bytes = 999.9 * kMiB,
                             .limit_bytes = 999.9 * kMiB,
                             .oldest_dirty_seconds = 119.9,
                             .fetched_per_second = 999.9 * kMiB,
                             .written_back_per_second = 999.9 * kMiB};
  stack.service = ServiceFigures{.puts_per_second = 1234,
                                 .gets_per_second = 1234,
                                 .removals_per_second = 1234,
                                 .retries_per_second = 1234,
                                 .cost = {.put = 12345},
                                 .dollars_a_month = 123456};
  EXPECT_EQ(lines_of(stack, 60), lines_of(stack, 1000));
}

TEST_F(StackViewTest, OfAKilledServerThatIsSaid) {
  LayerSnapshot killed = layer_of(cache, "cache", milliseconds(0));
  killed.is_running = false;
  window.take({killed});
  EXPECT_FALSE(figures().is_running);
  EXPECT_THAT(lines_of(figures(), 80), ElementsAre("vm1 (cache)", "  its server was killed"));
}

TEST_F(StackViewTest, TheBusiestStackIsTheFirst) {
  const auto both = [](milliseconds at, std::uint64_t idle, std::uint64_t busy) {
    std::vector<LayerSnapshot> layers;
    for (const auto& [name, bytes] : {std::pair{"a", idle}, std::pair{"b", busy}}) {
      MetricsRegistry registry(name, "cache");
      registry.counter(metric::kRequests, {{"op", "read"}}).add(bytes);
      registry.counter(metric::kRequestBytes, {{"op", "read"}}).add(bytes);
      layers.push_back(layer_of(registry, "cache", at));
      layers.back().stack = name;
    }
    return layers;
  };
  window.take(both(milliseconds(0), 1, 1));
  auto lines = screen_lines(window, {}, 80, kNow);
  EXPECT_THAT(lines.at(0), HasSubstr("2 stacks"));
  EXPECT_EQ(lines.at(2), "a (cache)");
  window.take(both(milliseconds(1000), 2, 20));
  EXPECT_EQ(screen_lines(window, {}, 80, kNow).at(2), "b (cache)");
}

TEST(RedrawTest, EachLineOverwritesTheFormerOne) {
  EXPECT_EQ(redraw({"one", "two"}, {.columns = 80, .rows = 24}),
            "\033[Hone\033[K\ntwo\033[K\033[J");
  EXPECT_EQ(redraw({"one", "two"}, {.columns = 2, .rows = 24}), "\033[Hon\033[K\ntw\033[K\033[J");
}

TEST(RedrawTest, WhatDoesNotFitIsTold) {
  EXPECT_EQ(redraw({"1", "2", "3", "4"}, {.columns = 80, .rows = 3}),
            "\033[H1\033[K\n2\033[K\n... and 2 more lines\033[K\033[J");
  EXPECT_THAT(redraw({"1", "2", "3"}, {.columns = 80, .rows = 3}), HasSubstr("3\033[K\033[J"));
}

}  // namespace
}  // namespace nbdstack
