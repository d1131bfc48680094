// How a lease is taken: from nobody, from the dead, not from the living, by force, and on stores
// that honour no conditions.
#include <gtest/gtest.h>

#include "tests/unit/s3/lease/lease_fixture.hpp"

namespace nbdstack {
namespace {

using testing::expect_error;
using testing::Quirks;
using testing::StoreCall;
using testing::StoreOp;

class LeaseAcquireTest : public testing::LeaseFixture {};

TEST_F(LeaseAcquireTest, WhereNobodyHasItItIsThereAtOnceAndInSilence) {
  lease_.acquire(store_);
  expect_held_by(lease_, here_);
  EXPECT_EQ(clock_.slept(), Duration::zero());
  EXPECT_TRUE(log_.all().empty());
  EXPECT_EQ(store_.memory.keys(), std::vector<std::string>{kKey});
}

TEST_F(LeaseAcquireTest, OwnLeaseTakesItAsWell) {
  Lease lease(settings(Ownership::lease), clock_, here_);
  lease.acquire(store_);
  expect_held_by(lease, here_);
}

TEST_F(LeaseAcquireTest, AStoreThatWantsBareEtagsKeepsALeaseToo) {
  store_.quirks.wants_bare_etags = true;
  Lease lease(settings(Ownership::lease), clock_, here_);
  lease.acquire(store_);
  lease.settle(store_);
  clock_.advance(kRenewal);
  lease.tend();
  EXPECT_EQ(stored().renewals, 3U);
  lease.release();
  other_.acquire(store_);
  expect_held_by(other_, there_);
  EXPECT_TRUE(log_.all().empty());
}

TEST_F(LeaseAcquireTest, EtagsThatAPutDoesNotTellAreReadBack) {
  store_.quirks.gives_no_etag_on_put = true;
  lease_.acquire(store_);
  lease_.settle(store_);
  expect_held_by(lease_, here_);
  EXPECT_EQ(stored().renewals, 2U);
}

TEST_F(LeaseAcquireTest, ALiveOwnerIsNoticedAtItsNextRenewalAndNamed) {
  let_other_hold();
  store_.before = [&](const StoreCall&) { other_.tend(); };
  const TimePoint start = clock_.now();
  expect_error(EBUSY, {"s3://b/disk", "there", "pid 22", "readonly=true", "own=force", "since 20"},
               [&] { lease_.acquire(store_); });
  EXPECT_LE(clock_.now() - start, kRenewal + seconds(1));
  EXPECT_FALSE(lease_.may_write());
  EXPECT_EQ(log_.count({"waiting up to", "there"}), 1U);
  expect_held_by(other_, there_);
}

TEST_F(LeaseAcquireTest, ADeadOwnerElsewhereIsWaitedForDuringOneLease) {
  let_other_hold();
  const TimePoint start = clock_.now();
  lease_.acquire(store_);
  expect_held_by(lease_, here_);
  EXPECT_GE(clock_.now() - start, seconds(35));
  EXPECT_LE(clock_.now() - start, seconds(36));
  EXPECT_EQ(log_.count({"waiting up to 35 s", "there"}), 1U);
  EXPECT_EQ(log_.count({"taken over", "there", "stopped renewing"}), 1U);
  EXPECT_EQ(log_.all().size(), 2U);
  other_.tend();
  EXPECT_EQ(other_.state(), LeaseState::lost);
}

// The time of a file is another host's, and a clock that is wrong by a minute would make every
// lease look old.
TEST_F(LeaseAcquireTest, HowOldTheStoreSaysThatItIsDoesNotShortenTheWait) {
  store_.quirks.tells_ages = true;
  for (const seconds skew : {seconds(0), seconds(60), seconds(-86400)}) {
    store_.quirks.age_skew = skew;
    Lease former(settings(Ownership::force), clock_, there_);
    former.acquire(store_);
    former.settle(store_);
    const TimePoint start = clock_.now();
    Lease next(settings(), clock_, here_);
    next.acquire(store_);
    EXPECT_GE(clock_.now() - start, seconds(35));
    EXPECT_LE(clock_.now() - start, seconds(36));
  }
}

TEST_F(LeaseAcquireTest, AnOwnerOfThisMachineThatHasEndedIsNotWaitedFor) {
  let_other_hold();
  here_.gone.push_back(there_.process);
  lease_.acquire(store_);
  expect_held_by(lease_, here_);
  EXPECT_EQ(clock_.slept(), Duration::zero());
  EXPECT_EQ(log_.count({"taken over", "there, pid 22", "has ended"}), 1U);
}

TEST_F(LeaseAcquireTest, AnOwnerThatEndsWhileItIsWatchedIsNotWaitedForLonger) {
  let_other_hold();
  store_.before = [&](const StoreCall&) {
    if (clock_.slept() >= seconds(3)) here_.gone = {there_.process};
  };
  lease_.acquire(store_);
  EXPECT_EQ(clock_.slept(), seconds(3));
}

TEST_F(LeaseAcquireTest, AnOwnerThatGivesItBackWhileItIsWatchedIsNotWaitedForLonger) {
  let_other_hold();
  store_.before = [&](const StoreCall&) {
    if (clock_.slept() >= seconds(3)) other_.release();
  };
  lease_.acquire(store_);
  expect_held_by(lease_, here_);
  EXPECT_EQ(clock_.slept(), seconds(3));
}

TEST_F(LeaseAcquireTest, ARecordThatCannotBeUnderstoodIsRefusedAndLeftAlone) {
  store_.memory.place_text(kKey, "{}");
  const auto before = store_.memory.body_of(kKey);
  expect_error(EINVAL, {kKey, "own=force"}, [&] { lease_.acquire(store_); });
  EXPECT_EQ(store_.memory.body_of(kKey), before);
}

TEST_F(LeaseAcquireTest, WhatTheStoreFailsWithEndsTheStart) {
  store_.before = [](const StoreCall& call) {
    if (call.op == StoreOp::fetch) throw Error(EACCES, "AccessDenied");
  };
  expect_error(EACCES, {"AccessDenied"}, [&] { lease_.acquire(store_); });
}

TEST_F(LeaseAcquireTest, AStoreTooSlowForTheLeaseIsAnError) {
  store_.before = [&](const StoreCall&) { clock_.advance(seconds(26)); };
  expect_error(EBUSY, {"lease-time=30s"}, [&] { lease_.acquire(store_); });
  Lease forced(settings(Ownership::force), clock_, here_);
  expect_error(EBUSY, {"lease-time=30s"}, [&] { forced.acquire(store_); });
}

TEST_F(LeaseAcquireTest, ForceTakesItAtOnceAndSaysFromWhom) {
  let_other_hold();
  Lease lease(settings(Ownership::force), clock_, here_);
  lease.acquire(store_);
  expect_held_by(lease, here_);
  EXPECT_EQ(clock_.slept(), Duration::zero());
  EXPECT_EQ(log_.count({"own=force", "there, pid 22"}), 1U);
  clock_.advance(kRenewal);
  other_.tend();
  EXPECT_EQ(other_.state(), LeaseState::lost);
  lease.tend();
  EXPECT_EQ(lease.state(), LeaseState::held);
}

TEST_F(LeaseAcquireTest, ForceReplacesWhatCannotBeUnderstood) {
  store_.memory.place_text(kKey, "{}");
  Lease lease(settings(Ownership::force), clock_, here_);
  lease.acquire(store_);
  expect_held_by(lease, here_);
  EXPECT_EQ(log_.count({"own=force", "does not understand"}), 1U);
}

TEST_F(LeaseAcquireTest, ForceReplacesWhatTheStoreCannotGiveBack) {
  let_other_hold();
  store_.before = [](const StoreCall& call) {
    const bool is_lease = call.keys.front() == kKey;
    if (is_lease && call.op == StoreOp::fetch) throw Error(EIO, "its checksum does not fit");
  };
  Lease cautious(settings(Ownership::lease), clock_, here_);
  expect_error(EIO, {"checksum"}, [&] { cautious.acquire(store_); });
  Lease forced(settings(Ownership::force), clock_, here_);
  forced.acquire(store_);
  store_.before = nullptr;
  expect_held_by(forced, here_);
}

TEST_F(LeaseAcquireTest, ForceSaysNothingWhereItWasFree) {
  let_other_hold();
  other_.release();
  Lease lease(settings(Ownership::force), clock_, here_);
  lease.acquire(store_);
  EXPECT_TRUE(log_.all().empty());
}

TEST_F(LeaseAcquireTest, ForceIsTriedAgainWhereTheOtherRenewsMeanwhile) {
  let_other_hold();
  Lease lease(settings(Ownership::force), clock_, here_);
  int renewals = 2;
  store_.after = [&](const StoreCall& call) {
    if (call.op != StoreOp::fetch || renewals-- <= 0) return;
    clock_.advance(kRenewal);
    other_.tend();
  };
  lease.acquire(store_);
  expect_held_by(lease, here_);
  EXPECT_EQ(log_.count({"own=force"}), 1U);
}

TEST_F(LeaseAcquireTest, ForceGivesUpOnAnOtherThatNeverDoes) {
  let_other_hold();
  Lease lease(settings(Ownership::force), clock_, here_);
  store_.after = [&](const StoreCall& call) {
    if (call.op != StoreOp::fetch) return;
    clock_.advance(kRenewal);
    other_.note_change();
    other_.tend();
  };
  expect_error(EBUSY, {"own=force", "again"}, [&] { lease.acquire(store_); });
  EXPECT_FALSE(lease.may_write());
}

// Every kind of store that does not honour conditions.
class PlainTokenTest : public LeaseAcquireTest, public ::testing::WithParamInterface<Quirks> {
 protected:
  PlainTokenTest() { store_.quirks = GetParam(); }
};

TEST_P(PlainTokenTest, OwnLeaseIsRefused) {
  Lease lease(settings(Ownership::lease), clock_, here_);
  expect_error(ENOTSUP, {"own=lease", "s3://b/disk", "because it", "own=auto"},
               [&] { lease.acquire(store_); });
  EXPECT_TRUE(store_.memory.keys().empty());
}

TEST_P(PlainTokenTest, OwnAutoSaysSoOnceAndLivesAWholeLife) {
  lease_.acquire(store_);
  EXPECT_EQ(log_.count({"s3://b/disk", "conditional PUTs", "because it"}), 1U);
  lease_.settle(store_);
  for (int i = 0; i < 10; ++i) {
    clock_.advance(kRenewal);
    lease_.tend();
  }
  expect_held_by(lease_, here_);
  EXPECT_EQ(stored().renewals, 12U);
  lease_.release();
  EXPECT_EQ(stored().state, LeaseRecord::State::released);
  EXPECT_EQ(log_.all().size(), 1U);
  other_.acquire(store_);
  expect_held_by(other_, there_);
}

TEST_P(PlainTokenTest, ALiveOwnerIsRespectedAndADeadOneReplaced) {
  let_other_hold();
  store_.before = [&](const StoreCall&) { other_.tend(); };
  expect_error(EBUSY, {"there"}, [&] { lease_.acquire(store_); });
  store_.before = {};
  Lease next(settings(), clock_, here_);
  next.acquire(store_);
  expect_held_by(next, here_);
  clock_.advance(seconds(1));
  other_.tend();
  EXPECT_EQ(other_.state(), LeaseState::lost);
  EXPECT_EQ(next.state(), LeaseState::held);
}

TEST_P(PlainTokenTest, ForceTakesIt) {
  let_other_hold();
  Lease lease(settings(Ownership::force), clock_, here_);
  lease.acquire(store_);
  expect_held_by(lease, here_);
}

TEST_P(PlainTokenTest, ATokenThatWasOverwrittenInTheSameMomentIsNoticedByLookingAgain) {
  store_.after = [&, done = false](const StoreCall& call) mutable {
    if (done || call.op != StoreOp::put || call.keys.front() != kKey) return;
    done = true;
    LeaseRecord record = LeaseRecord::make(there_, kLeaseDuration_default);
    store_.memory.place_text(kKey, record.to_json());
  };
  // The other never renews, so it is waited for; nothing is ever held by both.
  store_.before = [&](const StoreCall&) { EXPECT_FALSE(lease_.may_write()); };
  expect_error(EBUSY, {"there"}, [&] { lease_.acquire(store_); });
}

INSTANTIATE_TEST_SUITE_P(
    Stores, PlainTokenTest,
    ::testing::Values(Quirks{.ignores_if_none_match = true}, Quirks{.knows_no_create_only = true},
                      Quirks{.ignores_if_match = true}, Quirks{.creates_by_if_match = true},
                      Quirks{.knows_no_if_match = true}, Quirks{.refuses_every_etag = true},
                      Quirks{.gives_no_etag = true}));

}  // namespace
}  // namespace nbdstack
