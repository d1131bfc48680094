// The ends of a lease's life: the server goes into the background, the keeper renews, the lease is
// given back.
#include <gtest/gtest.h>

#include <utility>

#include "plugins/s3/lease/lease_keeper.hpp"
#include "tests/unit/fakes/break_invariant.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/lease/lease_fixture.hpp"

namespace nbdstack {
namespace {

using testing::expect_error;
using testing::Gate;
using testing::QuirkyStore;
using testing::StoreCall;
using testing::StoreOp;

class LeaseLifeTest : public testing::LeaseFixture {};

TEST_F(LeaseLifeTest, ReleasedItIsTakenByTheNextAtOnce) {
  hold();
  lease_.release();
  EXPECT_EQ(lease_.state(), LeaseState::released);
  EXPECT_FALSE(lease_.may_write());
  EXPECT_EQ(stored().state, LeaseRecord::State::released);
  expect_error(ESHUTDOWN, {"given back"}, [&] { lease_.check_writable(); });
  store_.memory.forget_calls();
  lease_.release();
  lease_.tend();
  EXPECT_TRUE(store_.memory.calls().empty());

  Lease next(settings(), clock_, there_);
  next.acquire(store_);
  EXPECT_EQ(next.state(), LeaseState::held);
  EXPECT_EQ(clock_.slept(), Duration::zero());
  EXPECT_TRUE(log_.all().empty());
}

TEST_F(LeaseLifeTest, NothingMayBeWrittenAnyMoreWhenTheReleaseIsSent) {
  hold();
  bool asked = false;
  store_.before = [&](const StoreCall&) {
    asked = true;
    EXPECT_FALSE(lease_.may_write());
  };
  lease_.release();
  EXPECT_TRUE(asked);
}

TEST_F(LeaseLifeTest, AReleaseWhoseAnswerWasLostBeforeIsRepeated) {
  hold();
  clock_.advance(kRenewal);
  lose_answers();
  lease_.tend();
  store_.after = {};
  lease_.release();
  EXPECT_EQ(stored().state, LeaseRecord::State::released);
  EXPECT_TRUE(log_.all().empty());
}

TEST_F(LeaseLifeTest, AReleaseThatFailsIsSaid) {
  hold();
  fail_puts();
  lease_.release();
  EXPECT_EQ(lease_.state(), LeaseState::released);
  EXPECT_EQ(log_.count({"s3://b/disk", "not given back", "no answer"}), 1U);
}

TEST_F(LeaseLifeTest, AReleaseOfWhatAnotherHasTakenLeavesItThere) {
  hold();
  clock_.advance(seconds(100));
  const auto other = place_foreign();
  lease_.release();
  EXPECT_EQ(stored().owner, other.owner);
  EXPECT_EQ(stored().state, LeaseRecord::State::held);
  EXPECT_EQ(log_.count({"taken over", "there"}), 1U);
}

TEST_F(LeaseLifeTest, SettlingEndsTheStartWhereAnotherTookItMeanwhile) {
  lease_.acquire(store_);
  place_foreign();
  expect_error(EBUSY, {"there", "pid 22"}, [&] { lease_.settle(store_); });
}

TEST_F(LeaseLifeTest, FromSettlingOnTheStoreNamedThereIsUsed) {
  lease_.acquire(store_);
  store_.memory.forget_calls();
  QuirkyStore empty(clock_);
  expect_error(EBUSY, {"removed its object"}, [&] { lease_.settle(empty); });
  EXPECT_TRUE(store_.memory.calls().empty());
}

TEST_F(LeaseLifeTest, SettlingGoesOnWhereTheStoreDoesNotAnswer) {
  lease_.acquire(store_);
  fail_puts();
  lease_.settle(store_);
  EXPECT_EQ(lease_.state(), LeaseState::held);
  store_.before = {};
  clock_.advance(seconds(1));
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
}

TEST_F(LeaseLifeTest, NothingIsWrittenBeforeTheRecordNamesTheProcessThatServes) {
  lease_.acquire(store_);
  const ProcessIdentity starter = here_.process;
  here_.process.pid = 12;
  bool could_write = true;
  store_.before = [&](const StoreCall& call) {
    if (call.op != StoreOp::put) return;
    could_write = lease_.may_write();
    throw Error(ETIMEDOUT, "no answer");
  };
  lease_.settle(store_);
  EXPECT_FALSE(could_write);
  EXPECT_EQ(lease_.state(), LeaseState::doubtful);
  EXPECT_EQ(stored().process, starter);
  store_.before = {};
  clock_.advance(seconds(1));
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
  EXPECT_EQ(stored().process, here_.process);
}

TEST_F(LeaseLifeTest, AServerThatWasKilledWhileItStartedIsNotWaitedFor) {
  other_.acquire(store_);  // and goes no further
  here_.gone = {there_.process};
  lease_.acquire(store_);
  EXPECT_EQ(lease_.state(), LeaseState::held);
  EXPECT_EQ(clock_.slept(), Duration::zero());
  EXPECT_EQ(log_.count({"taken over", "there, pid 22", "has ended"}), 1U);
}

TEST_F(LeaseLifeTest, TheKeeperRenewsUntilItIsStopped) {
  hold();
  Gate gate;
  store_.before = [&](const StoreCall& call) {
    if (call.op == StoreOp::put) gate.pass();
  };
  const auto renewals = stored().renewals;
  LeaseKeeper keeper(lease_, std::chrono::milliseconds(1));
  clock_.advance(kRenewal);
  gate.wait_for_arrivals(1);
  gate.open();
  clock_.advance(kRenewal);
  gate.wait_for_arrivals(2);
  keeper.stop();
  keeper.stop();
  EXPECT_GE(stored().renewals, renewals + 2);
  EXPECT_EQ(lease_.state(), LeaseState::held);
}

TEST_F(LeaseLifeTest, TheKeeperSurvivesWhatIsNoErrorOfOurs) {
  hold();
  Gate gate;
  store_.before = [&, thrown = false](const StoreCall& call) mutable {
    if (call.op != StoreOp::put) return;
    if (!std::exchange(thrown, true)) throw std::bad_alloc();
    gate.pass();
  };
  LeaseKeeper keeper(lease_, std::chrono::milliseconds(1));
  clock_.advance(kRenewal);
  gate.wait_for_arrivals(1);
  gate.open();
  keeper.stop();
  EXPECT_EQ(log_.count({"not renewed"}), 1U);
}

// --- Broken invariants ---

TEST_F(LeaseLifeTest, ALeaseThatWasGivenBackIsNotHeldAgain) {
  hold();
  lease_.release();
  EXPECT_BROKEN(lease_.acquire(store_),
                "state_ == LeaseState::none .*settings_.volume = s3://b/disk");
}

TEST_F(LeaseLifeTest, OneThreadDrivesALease) {
  hold();
  place_foreign();
  clock_.advance(kRenewal);
  bool is_released = false;
  store_.before = [&](const StoreCall& call) {
    if (call.op == StoreOp::put && !std::exchange(is_released, true)) lease_.release();
  };
  EXPECT_BROKEN(lease_.tend(), "this does not hold: state_ == LeaseState::held; settings_.volume");
}

}  // namespace
}  // namespace nbdstack
