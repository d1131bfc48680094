// Every order of two changes and a query: zeros are never known where there is data, and what is
// known is not lost without a reason.
#include "common/block/known_ranges.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

namespace nbdstack {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr ExtentType kStoredZeros{.hole = false, .zero = true};
constexpr Range kDisk{0, 3};
constexpr Range kChanged{1, 1};

class Ranges final : public KnownRanges {
 public:
  explicit Ranges(View view = View::all_connections, const Limits& limits = {.runs_max = 100})
      : KnownRanges(limits, view,
                    [](ExtentType known, ExtentType told) { return known.zero || !told.zero; }) {}

  Change change(const Range& range) {
    const MutexLock lock(mutex_);
    values_.assign(range, kData);
    make_room(range);
    return begin_change(range);
  }
};

// What a change does to its range, and what is said of it then.
struct Kind {
  const char* name;
  std::optional<ExtentType> effect;  // nothing: none
  bool succeeds = true;
  std::optional<ExtentType> content{};  // of commit(), for all of the range; nothing: none is named
};
constexpr std::array<Kind, 6> kKinds{{{"write", kData},
                                      {"zero", kStoredZeros, true, kStoredZeros},
                                      {"punch", kHole, true, kHole},
                                      {"trim", kHole, false},
                                      {"failed write that has happened", kData, false},
                                      {"failed zero that has not", std::nullopt, false}}};

class Disk {
 public:
  explicit Disk(KnownRanges::View view) : ranges(view) {}

  void step(std::optional<KnownRanges::Change>& change, const Kind& kind, unsigned number) {
    if (number == 0) change.emplace(ranges.change(kChanged));
    if (number == 1 && kind.effect) truth = *kind.effect;
    if (number != 2) return;
    std::vector<KnownRanges::Content> contents;
    if (kind.content) contents.push_back({kChanged, *kind.content});
    if (kind.succeeds) change->commit(contents);
    change.reset();
  }
  // A reply knows what is true when the layer below looks; where it may be older, what was at
  // first.
  void step(std::optional<KnownRanges::Query>& query, bool is_old, unsigned number) {
    if (number == 0) query.emplace(ranges.query(kDisk));
    if (number == 1) seen = is_old ? kHole : truth;
    if (number != 2) return;
    const std::vector<Extent> reply{{{0, 1}, kHole}, {kChanged, seen}, {{2, 1}, kHole}};
    query->learn(reply);
    query.reset();
  }
  void expect_no_lie(const std::string& history) const {
    for (const Extent& known : ranges.known(kChanged)) {
      ASSERT_TRUE(!known.type.zero || truth.zero) << history;
    }
  }

  Ranges ranges;
  ExtentType truth = kHole;
  ExtentType seen;
};

void play(const std::string& order, const Kind& first, const Kind& second, KnownRanges::View view) {
  Disk disk(view);
  std::optional<KnownRanges::Change> a;
  std::optional<KnownRanges::Change> b;
  std::optional<KnownRanges::Query> query;
  std::array<unsigned, 3> steps{};
  const std::string history = order + ": a = " + first.name + ", b = " + second.name;
  for (const char who : order) {
    if (who == 'a') disk.step(a, first, steps[0]++);
    if (who == 'b') disk.step(b, second, steps[1]++);
    if (who == 'q') {
      disk.step(query, view == KnownRanges::View::own_connection, steps[2]++);
    }
    ASSERT_NO_FATAL_FAILURE(disk.expect_no_lie(history));
  }
  ASSERT_EQ(disk.ranges.known({0, 1}).size(), 1U)
      << history << ": what did not change is not known";
  if (view == KnownRanges::View::own_connection) return;
  const auto known = disk.ranges.known(kChanged);
  if (order.ends_with("qqq")) {
    ASSERT_THAT(known, ElementsAre(Extent{kChanged, disk.truth})) << history;
  } else if (order.ends_with("bbb") && second.content) {
    ASSERT_THAT(known, ElementsAre(Extent{kChanged, *second.content})) << history;
  }
}

void play_all(KnownRanges::View view) {
  for (const Kind& first : kKinds) {
    for (const Kind& second : kKinds) {
      std::string order = "aaabbbqqq";
      do {
        ASSERT_NO_FATAL_FAILURE(play(order, first, second, view));
      } while (std::next_permutation(order.begin(), order.end()));
    }
  }
}

TEST(KnownRangesTest, NoOrderOfTwoChangesAndAQueryMakesZerosOfData) {
  play_all(KnownRanges::View::all_connections);
}

TEST(KnownRangesTest, NorDoesItWhereARepliesKnowNothingOfOtherConnections) {
  play_all(KnownRanges::View::own_connection);
}

TEST(KnownRangesTest, AQueryThatIsDisturbedTooOftenLearnsNothing) {
  Ranges ranges(KnownRanges::View::all_connections, {.runs_max = 100, .disturbed_max = 3});
  auto few = ranges.query({0, 100});
  for (std::uint64_t i = 0; i < 3; ++i) ranges.change({2 * i, 1}).commit({});
  auto many = ranges.query({0, 100});
  for (std::uint64_t i = 0; i < 4; ++i) ranges.change({50 + 2 * i, 1});
  const std::vector<Extent> reply{{{0, 100}, kHole}};
  many.learn(reply);
  EXPECT_THAT(ranges.known({10, 10}), IsEmpty());
  few.learn(reply);
  EXPECT_THAT(ranges.known({10, 10}), IsEmpty());
  ranges.query({0, 100}).learn(reply);
  EXPECT_THAT(ranges.known({10, 10}), ElementsAre(Extent{{10, 10}, kHole}));
}

TEST(KnownRangesTest, NothingIsLearntFromWhatWasInFlightWhenAllWasForgotten) {
  Ranges ranges;
  ranges.query(kDisk).learn(std::vector<Extent>{{kDisk, kHole}});
  auto query = ranges.query(kDisk);
  auto change = ranges.change(kChanged);
  ranges.forget_all();
  query.learn(std::vector<Extent>{{kDisk, kHole}});
  change.commit(std::vector<KnownRanges::Content>{{kChanged, kStoredZeros}});
  EXPECT_THAT(ranges.known(kDisk), IsEmpty());
}

TEST(KnownRangesTest, OldRunsAreForgottenForNewOnes) {
  Ranges ranges(KnownRanges::View::all_connections, {.runs_max = 4});
  for (std::uint64_t i = 0; i < 10; ++i) {
    ranges.query({2 * i, 1}).learn(std::vector<Extent>{{{2 * i, 1}, kHole}});
    EXPECT_EQ(ranges.has_forgotten(), i >= 4);
  }
  EXPECT_EQ(ranges.runs(), 4U);
  EXPECT_THAT(ranges.known({18, 1}), ElementsAre(Extent{{18, 1}, kHole}));
}

}  // namespace
}  // namespace nbdstack
