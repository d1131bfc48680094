// The terms of a volume's writers, from one owner to the next.
#include "plugins/s3/lease_term.hpp"

#include <gtest/gtest.h>

#include "tests/unit/s3/lease_fixture.hpp"

namespace nbdstack {
namespace {

class LeaseTermTest : public testing::LeaseFixture {
 protected:
  // One life of a server, to its end; its term.
  LeaseTerm live(bool changes, bool stops_cleanly, Ownership ownership = Ownership::force) {
    Lease lease(settings(ownership), clock_, here_);
    lease.acquire(store_);
    lease.settle(store_);
    if (changes) lease.note_change();
    if (stops_cleanly) lease.release();
    return lease.term().value();
  }
};

TEST_F(LeaseTermTest, EachOwnerHasOneOfItsOwnWhateverWayItCameByTheLease) {
  const auto first = live(true, true, Ownership::automatic);
  EXPECT_EQ(live(true, true, Ownership::lease).number, first.number + 1);
  EXPECT_EQ(live(true, false).number, first.number + 2);
  EXPECT_EQ(live(true, true).number, first.number + 3);
  let_other_hold();
  lease_.acquire(store_);  // after the other has stopped renewing it
  EXPECT_EQ(lease_.term()->number, first.number + 5);
}

TEST_F(LeaseTermTest, ARenewalKeepsIt) {
  hold();
  const auto term = lease_.term();
  clock_.advance(seconds(10));
  lease_.tend();
  EXPECT_EQ(stored().term, term);
  EXPECT_EQ(lease_.term(), term);
}

TEST_F(LeaseTermTest, TheLastChangeWasInTheTermOfWhoMadeOneOrMayHave) {
  const auto first = live(false, true);
  EXPECT_EQ(first.changed_in, first.number);  // nothing is known of what was before
  const auto changes = live(true, true);
  EXPECT_EQ(changes.changed_in, first.number);
  const auto reads = live(false, true);
  EXPECT_EQ(reads.changed_in, changes.number);
  const auto reads_too = live(false, true);
  EXPECT_EQ(reads_too.changed_in, changes.number);
  const auto crashes = live(false, false);
  EXPECT_EQ(crashes.changed_in, changes.number);
  EXPECT_EQ(live(false, true).changed_in, crashes.number);
}

TEST_F(LeaseTermTest, AnOwnerThatLostTheLeaseCountsAsOneThatChanged) {
  hold();
  const auto loser = lease_.term();
  EXPECT_EQ(live(false, true).changed_in, loser->number);
  lease_.tend();
  lease_.release();
  EXPECT_EQ(live(false, true).changed_in, loser->number);
}

TEST_F(LeaseTermTest, WhereNoTermIsKnownANewCountBeginsThatNothingOldIsTrueIn) {
  const auto before = live(true, true);
  const auto expect_new_count = [&](const std::string& what) {
    const auto after = live(false, true);
    EXPECT_EQ(after.changed_in, after.number) << what;
    // Of 2^52 numbers.
    EXPECT_TRUE(after.number + 1000 < before.number || after.number > before.number + 1000) << what;
  };
  store_.memory.remove(std::vector{kKey});
  expect_new_count("the object was removed");
  place_foreign(LeaseRecord::State::released);
  ASSERT_FALSE(stored().term.has_value());
  expect_new_count("a program that counts no terms was here");
  store_.memory.place_text(kKey, "{}");
  expect_new_count("a record that cannot be read");
}

TEST_F(LeaseTermTest, APutWhoseAnswerWasLostIsNotCountedTwice) {
  const auto former = live(true, true);
  lose_answers();
  testing::expect_error(ETIMEDOUT, {"answer lost"}, [&] { lease_.acquire(store_); });
  store_.after = {};
  lease_.acquire(store_);
  EXPECT_EQ(lease_.term()->number, former.number + 1);
}

TEST_F(LeaseTermTest, WithoutALeaseThereIsNone) {
  Lease lease(settings(Ownership::none), clock_, here_);
  lease.acquire(store_);
  EXPECT_FALSE(lease.term().has_value());
}

TEST_F(LeaseTermTest, ACountThatCannotGoOnBeginsAnew) {
  LeaseRecord record = place_foreign(LeaseRecord::State::released);
  constexpr std::uint64_t kLast = (std::uint64_t{1} << 63U) - 1;
  record.term = {.number = kLast, .changed_in = kLast};
  const LeaseTerm next = term_after(&record, "somebody");
  EXPECT_LT(next.number, kLast);
  EXPECT_EQ(next.changed_in, next.number);
}

}  // namespace
}  // namespace nbdstack
