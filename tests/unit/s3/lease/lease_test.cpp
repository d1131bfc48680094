// One lease: every state and every way from one to the next, on stores of every kind.
#include "plugins/s3/lease/lease.hpp"

#include <gtest/gtest.h>

#include "tests/unit/s3/lease/lease_fixture.hpp"

namespace nbdstack {
namespace {

using testing::expect_error;
using testing::StoreCall;
using testing::StoreOp;

class LeaseTest : public testing::LeaseFixture {};

TEST_F(LeaseTest, OwnIsOneOfFourWords) {
  EXPECT_EQ(parse_ownership("auto"), Ownership::automatic);
  EXPECT_EQ(parse_ownership("lease"), Ownership::lease);
  EXPECT_EQ(parse_ownership("force"), Ownership::force);
  EXPECT_EQ(parse_ownership("none"), Ownership::none);
  expect_error(EINVAL, {"own=mine", "force"}, [] { parse_ownership("mine"); });
}

TEST_F(LeaseTest, ADurationThatNoRecordMayHaveIsRefused) {
  for (const auto duration : {kLeaseDuration_min - std::chrono::milliseconds(1),
                              kLeaseDuration_max + std::chrono::milliseconds(1)}) {
    auto wrong = settings();
    wrong.duration = duration;
    expect_error(EINVAL, {"lease-time"}, [&] { const Lease lease(wrong, clock_, here_); });
  }
}

TEST_F(LeaseTest, BeforeItIsTakenNothingMayBeWritten) {
  EXPECT_EQ(lease_.state(), LeaseState::none);
  EXPECT_FALSE(lease_.may_write());
  expect_error(ESHUTDOWN, {"s3://b/disk", "before"}, [&] { lease_.check_writable(); });
  lease_.tend();
  lease_.release();
  EXPECT_TRUE(store_.memory.calls().empty());
}

TEST_F(LeaseTest, OwnNoneAsksTheStoreNothingAndWritesForEver) {
  Lease lease(settings(Ownership::none), clock_, here_);
  lease.acquire(store_);
  lease.settle(store_);
  clock_.advance(seconds(1'000'000));
  lease.tend();
  EXPECT_TRUE(lease.may_write());
  EXPECT_EQ(lease.state(), LeaseState::none);
  lease.check_writable();
  lease.release();
  EXPECT_TRUE(lease.may_write());
  EXPECT_TRUE(store_.memory.calls().empty());
}

TEST_F(LeaseTest, IsTakenByTheProcessThatStartsAndRenewedByTheOneInTheBackground) {
  lease_.acquire(store_);
  EXPECT_EQ(lease_.state(), LeaseState::held);
  EXPECT_TRUE(lease_.may_write());
  EXPECT_EQ(stored().process, here_.process);
  const auto owner = stored().owner;
  here_.process.pid = 12;
  lease_.settle(store_);
  EXPECT_EQ(stored().process, here_.process);
  EXPECT_EQ(stored().owner, owner);
  EXPECT_EQ(stored().state, LeaseRecord::State::held);
}

TEST_F(LeaseTest, IsRenewedWhenThreeAttemptsAreLeft) {
  hold();
  const auto renewals = stored().renewals;
  clock_.advance(kRenewal - std::chrono::milliseconds(1));
  lease_.tend();
  EXPECT_EQ(stored().renewals, renewals);
  clock_.advance(std::chrono::milliseconds(1));
  lease_.tend();
  EXPECT_EQ(stored().renewals, renewals + 1);
  lease_.tend();
  EXPECT_EQ(stored().renewals, renewals + 1);
}

TEST_F(LeaseTest, RunsOutAMarginBeforeItsDurationAfterTheRenewalWasSent) {
  lease_.acquire(store_);
  // The renewal takes a while either way, and counts from its sending.
  store_.before = store_.after = [&](const StoreCall&) { clock_.advance(seconds(2)); };
  lease_.settle(store_);
  clock_.advance(seconds(21) - std::chrono::nanoseconds(1));
  EXPECT_TRUE(lease_.may_write());
  clock_.advance(std::chrono::nanoseconds(1));
  EXPECT_FALSE(lease_.may_write());
  EXPECT_EQ(lease_.state(), LeaseState::doubtful);
  expect_error(ESHUTDOWN, {"s3://b/disk", "not be renewed"}, [&] { lease_.check_writable(); });
}

TEST_F(LeaseTest, ARenewalThatFailsIsTriedAgainAfterAPause) {
  hold();
  clock_.advance(kRenewal);
  fail_puts();
  store_.memory.forget_calls();
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
  lease_.tend();
  store_.before = {};
  lease_.tend();
  EXPECT_TRUE(store_.memory.calls(StoreOp::put).empty());
  clock_.advance(seconds(1));
  lease_.tend();
  EXPECT_EQ(store_.memory.calls(StoreOp::put).size(), 1U);
  EXPECT_TRUE(log_.all().empty());
}

TEST_F(LeaseTest, InDoubtItIsTriedOnAndSaidOnceAndHeldAgainWhenNobodyTookIt) {
  hold();
  fail_puts();
  for (int i = 0; i < 100; ++i) {
    clock_.advance(seconds(1));
    lease_.tend();
  }
  EXPECT_EQ(lease_.state(), LeaseState::doubtful);
  EXPECT_EQ(log_.count({"s3://b/disk", "no write is accepted", "no answer"}), 1U);
  store_.before = {};
  clock_.advance(seconds(1));
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
  EXPECT_TRUE(lease_.may_write());
  lease_.check_writable();
  EXPECT_EQ(log_.count({"accepted again"}), 1U);
  EXPECT_EQ(log_.all().size(), 2U);
}

TEST_F(LeaseTest, AProcessThatWasStoppedFindsItselfInDoubtAndSaysWhy) {
  hold();
  clock_.advance(seconds(3600));
  EXPECT_EQ(lease_.state(), LeaseState::doubtful);
  fail_puts();
  lease_.tend();
  EXPECT_EQ(log_.count({"no write is accepted"}), 1U);
}

TEST_F(LeaseTest, ARenewalThatWasSentBeforeALongStopDoesNotMakeItHeld) {
  hold();
  clock_.advance(kRenewal);
  store_.before = [&](const StoreCall&) { clock_.advance(seconds(100)); };
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::doubtful);
  store_.before = {};
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
}

TEST_F(LeaseTest, IsLostForGoodWhenAnotherHasIt) {
  hold();
  place_foreign();
  EXPECT_TRUE(lease_.may_write());
  clock_.advance(kRenewal);
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::lost);
  EXPECT_FALSE(lease_.may_write());
  EXPECT_EQ(log_.count({"s3://b/disk", "lost", "there", "pid 22"}), 1U);
  expect_error(ESHUTDOWN, {"s3://b/disk", "lost", "there", "pid 22"},
               [&] { lease_.check_writable(); });

  store_.memory.drop(kKey);  // also when the other is gone again
  store_.memory.forget_calls();
  clock_.advance(seconds(100));
  lease_.tend();
  lease_.release();
  EXPECT_EQ(lease_.state(), LeaseState::lost);
  EXPECT_TRUE(store_.memory.calls().empty());
}

TEST_F(LeaseTest, IsLostFromDoubtToo) {
  hold();
  clock_.advance(seconds(100));
  place_foreign(LeaseRecord::State::released);
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::lost);
}

TEST_F(LeaseTest, IsLostWhereItsObjectIsGoneOrNotToBeUnderstood) {
  hold();
  store_.memory.drop(kKey);
  clock_.advance(kRenewal);
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::lost);
  EXPECT_EQ(log_.count({"lost", "removed its object"}), 1U);

  Lease other(settings(), clock_, here_);
  other.acquire(store_);
  store_.memory.place_text(kKey, "?");
  clock_.advance(kRenewal);
  other.tend();
  EXPECT_EQ(other.state(), LeaseState::lost);
  EXPECT_EQ(log_.count({"lost", "does not understand"}), 1U);
}

TEST_F(LeaseTest, ARenewalWhoseAnswerWasLostIsFoundAndGoneOnFrom) {
  hold();
  clock_.advance(kRenewal);
  lose_answers();
  lease_.tend();
  const auto renewals = stored().renewals;
  store_.after = {};
  clock_.advance(seconds(1));
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
  EXPECT_EQ(stored().renewals, renewals + 2);  // one was refused
  clock_.advance(seconds(25) - std::chrono::nanoseconds(1));
  EXPECT_TRUE(lease_.may_write());
}

TEST_F(LeaseTest, ARecordOfOursThatIsFoundProlongsNothingByItself) {
  hold();
  clock_.advance(kRenewal);
  lose_answers();
  lease_.tend();
  fail_puts();
  store_.before = [&, puts = 0](const StoreCall& call) mutable {
    // The first put is refused by the condition; the one after the look gets no answer.
    if (call.op == StoreOp::put && ++puts == 2) throw Error(ETIMEDOUT, "no answer");
  };
  store_.after = {};
  clock_.advance(seconds(11));
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
  clock_.advance(seconds(1));
  EXPECT_EQ(lease_.state(), LeaseState::doubtful);
}

TEST_F(LeaseTest, AStoreThatShowsOldRecordsForEverIsAnErrorNotALoop) {
  hold();
  store_.quirks.refuses_every_etag = true;
  clock_.advance(kRenewal);
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
  clock_.advance(seconds(15));
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::doubtful);
  EXPECT_EQ(log_.count({"other records of ours"}), 1U);
}

TEST_F(LeaseTest, AStoreThatForgetsItsConditionsIsAnErrorNotALicense) {
  hold();
  store_.quirks.knows_no_if_match = true;
  clock_.advance(seconds(100));
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::doubtful);
  EXPECT_EQ(log_.count({"now says that it knows none"}), 1U);
}

TEST_F(LeaseTest, TheReadAfterARefusedRenewalMayFailToo) {
  hold();
  place_foreign();
  store_.before = [](const StoreCall& call) {
    if (call.op == StoreOp::fetch) throw Error(EIO, "no answer");
  };
  clock_.advance(kRenewal);
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::held);
  store_.before = {};
  clock_.advance(seconds(1));
  lease_.tend();
  EXPECT_EQ(lease_.state(), LeaseState::lost);
}

}  // namespace
}  // namespace nbdstack
