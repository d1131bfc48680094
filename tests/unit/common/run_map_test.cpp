#include "common/block/run_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <random>
#include <vector>

namespace nbdstack {
namespace {

using Map = RunMap<int>;
using Runs = std::vector<Map::Run>;

constexpr std::uint64_t kEverything = ~std::uint64_t{0};

Runs all_of(const Map& map) {
  return map.overlapping({0, kEverything});
}

TEST(RunMap, IsEmptyAtFirst) {
  const Map map;
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.size(), 0U);
  EXPECT_EQ(map.first(), std::nullopt);
  EXPECT_EQ(map.find(0), std::nullopt);
  EXPECT_EQ(map.next(0), std::nullopt);
  EXPECT_FALSE(map.overlaps({0, kEverything}));
  EXPECT_EQ(all_of(map), Runs{});
}

TEST(RunMap, FindsARunByEachOfItsOffsetsOnly) {
  Map map;
  map.assign({10, 5}, 1);
  const Map::Run run{{10, 5}, 1};
  EXPECT_EQ(map.find(9), std::nullopt);
  EXPECT_EQ(map.find(10), run);
  EXPECT_EQ(map.find(14), run);
  EXPECT_EQ(map.find(15), std::nullopt);
}

TEST(RunMap, TellsTheRunAtOrBehindAnOffset) {
  Map map;
  map.assign({10, 5}, 1);
  map.assign({20, 5}, 2);
  EXPECT_EQ(map.next(0), (Map::Run{{10, 5}, 1}));
  EXPECT_EQ(map.next(14), (Map::Run{{10, 5}, 1}));
  EXPECT_EQ(map.next(15), (Map::Run{{20, 5}, 2}));
  EXPECT_EQ(map.next(24), (Map::Run{{20, 5}, 2}));
  EXPECT_EQ(map.next(25), std::nullopt);
  EXPECT_EQ(map.first(), (Map::Run{{10, 5}, 1}));
}

TEST(RunMap, MergesNeighboursThatAreEqual) {
  Map map;
  map.assign({0, 10}, 1);
  map.assign({20, 10}, 1);
  EXPECT_EQ(map.size(), 2U);
  map.assign({10, 10}, 1);
  EXPECT_EQ(all_of(map), (Runs{{{0, 30}, 1}}));
}

TEST(RunMap, KeepsNeighboursThatDifferApart) {
  Map map;
  map.assign({0, 10}, 1);
  map.assign({20, 10}, 3);
  map.assign({10, 10}, 2);
  EXPECT_EQ(all_of(map), (Runs{{{0, 10}, 1}, {{10, 10}, 2}, {{20, 10}, 3}}));
}

TEST(RunMap, DoesNotMergeAcrossAGap) {
  Map map;
  map.assign({0, 10}, 1);
  map.assign({11, 10}, 1);
  EXPECT_EQ(all_of(map), (Runs{{{0, 10}, 1}, {{11, 10}, 1}}));
}

TEST(RunMap, OverwritesTheMiddleOfARun) {
  Map map;
  map.assign({0, 30}, 1);
  map.assign({10, 10}, 2);
  EXPECT_EQ(all_of(map), (Runs{{{0, 10}, 1}, {{10, 10}, 2}, {{20, 10}, 1}}));
  map.assign({10, 10}, 1);
  EXPECT_EQ(all_of(map), (Runs{{{0, 30}, 1}}));
}

TEST(RunMap, OverwritesManyRunsAndPartsOfTheOutermost) {
  Map map;
  for (int i = 0; i < 10; ++i) map.assign({static_cast<std::uint64_t>(i) * 10, 8}, i);
  map.assign({15, 60}, 99);
  EXPECT_EQ(
      all_of(map),
      (Runs{{{0, 8}, 0}, {{10, 5}, 1}, {{15, 60}, 99}, {{75, 3}, 7}, {{80, 8}, 8}, {{90, 8}, 9}}));
}

TEST(RunMap, IsUnchangedByTheSameValueAgain) {
  Map map;
  map.assign({10, 20}, 1);
  map.assign({15, 5}, 1);
  EXPECT_EQ(all_of(map), (Runs{{{10, 20}, 1}}));
}

TEST(RunMap, ErasesTheMiddleTheEdgesAndTheWhole) {
  Map map;
  map.assign({0, 30}, 1);
  map.erase({10, 10});
  EXPECT_EQ(all_of(map), (Runs{{{0, 10}, 1}, {{20, 10}, 1}}));
  map.erase({5, 20});
  EXPECT_EQ(all_of(map), (Runs{{{0, 5}, 1}, {{25, 5}, 1}}));
  map.erase({0, 5});
  EXPECT_EQ(all_of(map), (Runs{{{25, 5}, 1}}));
  map.erase({5, 10});
  EXPECT_EQ(map.size(), 1U);
  map.erase({0, kEverything});
  EXPECT_TRUE(map.empty());
}

TEST(RunMap, ForgetsEverythingWhenCleared) {
  Map map;
  map.assign({0, 30}, 1);
  map.clear();
  EXPECT_TRUE(map.empty());
}

TEST(RunMap, CutsWhatOverlapsToTheRangeAskedFor) {
  Map map;
  map.assign({0, 10}, 1);
  map.assign({20, 10}, 2);
  map.assign({30, 10}, 3);
  EXPECT_EQ(map.overlapping({5, 30}), (Runs{{{5, 5}, 1}, {{20, 10}, 2}, {{30, 5}, 3}}));
  EXPECT_EQ(map.overlapping({22, 3}), (Runs{{{22, 3}, 2}}));
  EXPECT_EQ(map.overlapping({10, 10}), Runs{});
  EXPECT_TRUE(map.overlaps({9, 1}));
  EXPECT_FALSE(map.overlaps({10, 10}));
  EXPECT_TRUE(map.overlaps({10, 11}));
  EXPECT_FALSE(map.overlaps({40, 1000}));
}

TEST(RunMap, IsNotTouchedByEmptyRanges) {
  Map map;
  map.assign({0, 30}, 1);
  map.assign({10, 0}, 2);
  map.erase({10, 0});
  EXPECT_EQ(all_of(map), (Runs{{{0, 30}, 1}}));
  EXPECT_FALSE(map.overlaps({10, 0}));
  EXPECT_EQ(map.overlapping({10, 0}), Runs{});
}

// The largest disk of the NBD protocol as nbdkit has it, and the largest range there is at all.
TEST(RunMap, ReachesTheLastByteOfTheLargestDisk) {
  for (const std::uint64_t size : {std::uint64_t{INT64_MAX}, kEverything}) {
    Map map;
    map.assign({size - 1, 1}, 1);
    EXPECT_EQ(map.find(size - 1), (Map::Run{{size - 1, 1}, 1}));
    EXPECT_EQ(map.find(size), std::nullopt);
    map.assign({0, size}, 2);
    EXPECT_EQ(map.size(), 1U);
    map.erase({size - 1, 1});
    EXPECT_EQ(map.find(size - 1), std::nullopt);
    EXPECT_EQ(map.next(size - 2), (Map::Run{{0, size - 1}, 2}));
    map.assign({size - 1, 1}, 2);
    EXPECT_EQ(map.first(), (Map::Run{{0, size}, 2}));
    EXPECT_EQ(map.overlapping({size - 4096, 4096}), (Runs{{{size - 4096, 4096}, 2}}));
  }
}

// Every new run copies a value, so a copy that fails stands for an allocation that does.
struct Brittle {
  int value = 0;

  explicit Brittle(int number) : value(number) {}
  Brittle(const Brittle& other) : value(other.value) {
    if (copies_left == 0) throw std::bad_alloc();
    --copies_left;
  }
  Brittle& operator=(const Brittle&) = default;
  ~Brittle() = default;
  friend bool operator==(const Brittle&, const Brittle&) = default;

  static constexpr int kNoLimit = 1'000'000;
  static inline int copies_left = kNoLimit;
};

std::vector<int> values_of(const RunMap<Brittle>& map) {
  std::vector<int> values;
  for (std::uint64_t offset = 0; offset < 40; ++offset) {
    const auto run = map.find(offset);
    values.push_back(run ? run->value.value : 0);
  }
  return values;
}

TEST(RunMap, ChangesNoValueWhenItCannotDoAllThatItIsAskedTo) {
  const Brittle value(9);
  for (const bool assigning : {true, false}) {
    int failures = 0;
    for (bool done = false; !done; ++failures) {
      RunMap<Brittle> map;
      map.assign({0, 20}, Brittle(1));
      map.assign({20, 20}, Brittle(2));
      const std::vector<int> before = values_of(map);
      Brittle::copies_left = failures;
      try {
        assigning ? map.assign({5, 30}, value) : map.erase({5, 30});
        done = true;
      } catch (const std::bad_alloc&) {
      }
      Brittle::copies_left = Brittle::kNoLimit;
      EXPECT_EQ(values_of(map) == before, !done) << failures;
      map.assign({0, 40}, value);
      EXPECT_EQ(map.size(), 1U);
    }
    EXPECT_GT(failures, 2);
  }
}

// The same verbs over one value an offset. 0 stands for "no value".
class PlainMap {
 public:
  explicit PlainMap(std::size_t size) : values_(size) {}

  void assign(const Range& range, int value) {
    for (auto at = range.offset; at < range.end(); ++at) values_[at] = value;
  }

  [[nodiscard]] Runs overlapping(const Range& range) const {
    Runs runs;
    for (auto at = range.offset; at < range.end(); ++at) {
      if (values_[at] == 0) continue;
      if (!runs.empty() && runs.back().range.end() == at && runs.back().value == values_[at]) {
        ++runs.back().range.length;
      } else {
        runs.push_back({{at, 1}, values_[at]});
      }
    }
    return runs;
  }

 private:
  std::vector<int> values_;
};

std::optional<Map::Run> next_of(const Runs& runs, std::uint64_t offset) {
  const auto found = std::find_if(runs.begin(), runs.end(),
                                  [&](const Map::Run& run) { return run.range.end() > offset; });
  return found == runs.end() ? std::nullopt : std::optional(*found);
}

TEST(RunMap, AgreesWithAValueForEachOffsetWhateverIsDone) {
  constexpr std::uint64_t kSize = 200;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::uint64_t limit) { return random() % limit; };
    Map map;
    PlainMap plain(kSize);
    for (int step = 0; step < 1000; ++step) {
      const std::uint64_t offset = below(kSize);
      const Range range{offset, below(std::min<std::uint64_t>(kSize - offset, 40) + 1)};
      const int value = static_cast<int>(below(4));
      plain.assign(range, value);
      if (value == 0) {
        map.erase(range);
      } else {
        map.assign(range, value);
      }
      const Runs runs = plain.overlapping({0, kSize});
      ASSERT_EQ(all_of(map), runs) << "seed " << seed << ", step " << step;
      ASSERT_EQ(map.size(), runs.size());
      ASSERT_EQ(map.empty(), runs.empty());
      ASSERT_EQ(map.first(), next_of(runs, 0));

      const std::uint64_t asked = below(kSize);
      const auto next = next_of(runs, asked);
      ASSERT_EQ(map.next(asked), next);
      const bool inside = next && next->range.offset <= asked;
      ASSERT_EQ(map.find(asked), inside ? next : std::nullopt);
      const Range window{asked, below(kSize - asked + 1)};
      ASSERT_EQ(map.overlapping(window), plain.overlapping(window));
      ASSERT_EQ(map.overlaps(window), !plain.overlapping(window).empty());
    }
  }
}

}  // namespace
}  // namespace nbdstack
