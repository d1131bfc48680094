// A volume at rest: while nobody writes, the lease is renewed less and less often.
#include <gtest/gtest.h>

#include "tests/unit/s3/lease/lease_fixture.hpp"

namespace nbdstack {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using testing::expect_error;
using testing::StoreCall;
using testing::StoreOp;

class LeaseIdleTest : public testing::LeaseFixture {
 protected:
  // As the keeper, once a second; `each` is called before every turn.
  void keep(
      Lease& lease, Duration time, const std::function<void()>& each = [] {}) {
    const TimePoint until = clock_.now() + time;
    while (clock_.now() < until) {
      clock_.advance(seconds(1));
      each();
      lease.tend();
    }
  }
  std::size_t requests_in_an_hour(
      Lease& lease, const std::function<void()>& each = [] {}) {
    keep(lease, hours(1), each);
    store_.memory.forget_calls();
    keep(lease, hours(1), each);
    EXPECT_EQ(store_.memory.calls().size(), store_.memory.calls(StoreOp::put).size());
    return store_.memory.calls().size();
  }
  void rest() {
    hold();
    keep(lease_, hours(1));
    ASSERT_EQ(stored().duration, seconds(120));
    store_.memory.forget_calls();
  }
};

// The manual tells these numbers, and what they cost.
TEST_F(LeaseIdleTest, AnHourAtRestCosts41RequestsAndOneOfWrites277) {
  hold();
  const auto at_rest = requests_in_an_hour(lease_);
  EXPECT_TRUE(at_rest == 40 || at_rest == 41) << at_rest;
  const auto written = requests_in_an_hour(lease_, [&] { lease_.note_change(); });
  EXPECT_TRUE(written == 276 || written == 277) << written;
}

TEST_F(LeaseIdleTest, TwiceTheLeaseTimeCostsLessThanHalf) {
  auto longer = settings();
  longer.duration = seconds(60);
  Lease lease(longer, clock_, here_);
  lease.acquire(store_);
  EXPECT_LE(requests_in_an_hour(lease), 41U / 2);
  EXPECT_LE(requests_in_an_hour(lease, [&] { lease.note_change(); }), 277U / 2);
}

TEST_F(LeaseIdleTest, ARecordLastsAsLongAsNobodyHasWrittenAndFourLeaseTimesAtMost) {
  hold();
  const TimePoint start = clock_.now();
  std::vector<milliseconds> durations;
  auto last = stored().renewals;
  keep(lease_, seconds(600), [&] {
    if (stored().renewals == last) return;
    last = stored().renewals;
    durations.push_back(stored().duration);
    EXPECT_LE(stored().duration, std::max<Duration>(clock_.now() - start, seconds(30)));
  });
  ASSERT_GE(durations.size(), 6U);
  EXPECT_EQ(durations.front(), seconds(30));
  EXPECT_TRUE(std::is_sorted(durations.begin(), durations.end()));
  EXPECT_EQ(durations.back(), seconds(120));
}

TEST_F(LeaseIdleTest, ARecordOfTheLongestLeaseTimeDoesNotGrow) {
  auto longest = settings();
  longest.duration = kLeaseDuration_max;
  Lease lease(longest, clock_, here_);
  lease.acquire(store_);
  keep(lease, hours(9));
  EXPECT_EQ(stored().duration, kLeaseDuration_max);
  EXPECT_TRUE(lease.may_write());
}

TEST_F(LeaseIdleTest, TheFirstChangeIsDoneAtOnceAndBringsTheShortRecordBack) {
  rest();
  const auto regained = lease_.regained();
  EXPECT_TRUE(lease_.may_write());
  lease_.note_change();
  EXPECT_TRUE(lease_.may_write());
  keep(lease_, seconds(1));
  EXPECT_EQ(stored().duration, seconds(30));
  EXPECT_TRUE(lease_.may_write());
  EXPECT_EQ(lease_.regained(), regained) << "it was held all the time";
  EXPECT_EQ(store_.memory.calls(StoreOp::put).size(), 1U);
  keep(lease_, kRenewal - seconds(1), [&] { lease_.note_change(); });
  EXPECT_EQ(store_.memory.calls(StoreOp::put).size(), 1U);
}

// The shorter record lies in the store, and its owner does not know: whoever goes by that record
// may take the lease when the owner would still have written by the longer one.
TEST_F(LeaseIdleTest, AShorterRecordWhoseAnswerWasLostEndsTheRightNoLaterThanItSays) {
  rest();
  lease_.note_change();
  const TimePoint sent = clock_.now();
  lose_answers();
  lease_.tend();
  store_.after = {};
  ASSERT_EQ(stored().duration, seconds(30));
  EXPECT_TRUE(lease_.may_write());

  bool took = false;
  store_.before = [&](const StoreCall& call) {
    if (call.op != StoreOp::put || call.keys.front() != kKey) return;
    took = true;
    EXPECT_FALSE(lease_.may_write());
    EXPECT_GE(clock_.now() - sent, seconds(35));
  };
  other_.acquire(store_);
  EXPECT_TRUE(took);
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::lost);
}

TEST_F(LeaseIdleTest, AShorterRecordThatIsNotStoredLeavesTheRightInDoubtUntilOneIs) {
  rest();
  lease_.note_change();
  fail_puts();
  lease_.tend();
  clock_.advance(seconds(25) - std::chrono::nanoseconds(1));
  EXPECT_EQ(lease_.state(), LeaseState::held);
  clock_.advance(std::chrono::nanoseconds(1));
  EXPECT_EQ(lease_.state(), LeaseState::doubtful);
  const auto regained = lease_.regained();
  store_.before = {};
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
  EXPECT_EQ(lease_.regained(), regained + 1);
}

TEST_F(LeaseIdleTest, ADeadOwnerIsWaitedForAsLongAsItsRecordSays) {
  rest();
  const TimePoint start = clock_.now();
  other_.acquire(store_);
  expect_held_by(other_, there_);
  EXPECT_GE(clock_.now() - start, seconds(140));
  EXPECT_LE(clock_.now() - start, seconds(141));
  EXPECT_EQ(log_.count({"waiting up to 140 s", "here"}), 1U);
  EXPECT_FALSE(lease_.may_write());
}

TEST_F(LeaseIdleTest, ADeadOwnerOfThisMachineIsNotWaitedFor) {
  rest();
  there_.gone = {here_.process};
  const TimePoint start = clock_.now();
  other_.acquire(store_);
  EXPECT_EQ(clock_.now(), start);
}

TEST_F(LeaseIdleTest, ALiveOwnerKeepsItAndIsNoticedAtItsNextRenewal) {
  rest();
  store_.before = [&](const StoreCall&) { lease_.tend(); };
  const TimePoint start = clock_.now();
  expect_error(EBUSY, {"here", "pid 11"}, [&] { other_.acquire(store_); });
  EXPECT_LE(clock_.now() - start, seconds(89));
  EXPECT_TRUE(lease_.may_write());
}

TEST_F(LeaseIdleTest, GivenBackItIsTakenAtOnceAlsoFromRest) {
  rest();
  lease_.release();
  const TimePoint start = clock_.now();
  other_.acquire(store_);
  EXPECT_EQ(clock_.now(), start);
}

// Where conditions are not kept, each renewal is a look whether somebody else believes to have it.
TEST_F(LeaseIdleTest, APlainTokenIsLookedAfterAsOftenAsEver) {
  store_.quirks.ignores_if_match = true;
  store_.quirks.ignores_if_none_match = true;
  hold();
  ASSERT_FALSE(lease_.is_exclusive());
  keep(lease_, hours(1));
  EXPECT_EQ(stored().duration, seconds(30));
  place_foreign();
  keep(lease_, kRenewal);
  EXPECT_EQ(lease_.state(), LeaseState::lost);
}

}  // namespace
}  // namespace nbdstack
