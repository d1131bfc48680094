// The terms of a volume's writers, from one owner to the next.
#include "plugins/s3/lease/lease_term.hpp"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/s3/lease/lease_fixture.hpp"

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
  const auto second = live(true, true, Ownership::lease);
  EXPECT_GT(second.number, first.number);
  const auto crashed = live(true, false);
  EXPECT_GT(crashed.number, second.number);
  const auto last = live(true, true);
  EXPECT_GT(last.number, crashed.number);
  let_other_hold();
  EXPECT_GT(other_.term()->number, last.number);
  lease_.acquire(store_);  // after the other has stopped renewing it
  EXPECT_GT(lease_.term()->number, other_.term()->number);
}

TEST_F(LeaseTermTest, ARenewalKeepsIt) {
  hold();
  const auto term = lease_.term();
  clock_.advance(kRenewal);
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
  EXPECT_TRUE(reads.unchanged.empty());
  const auto reads_too = live(false, true);
  EXPECT_EQ(reads_too.changed_in, changes.number);
  EXPECT_EQ(reads_too.unchanged, std::vector{reads.number});
  const auto crashes = live(false, false);
  EXPECT_EQ(crashes.changed_in, changes.number);
  EXPECT_EQ(crashes.unchanged, (std::vector{reads.number, reads_too.number}));
  const auto after = live(false, true);
  EXPECT_EQ(after.changed_in, crashes.number);
  EXPECT_TRUE(after.unchanged.empty());
}

TEST_F(LeaseTermTest, ABucketThatIsRestoredGivesNoTermASecondTime) {
  const auto backed_up = live(true, true);
  const auto backup = store_.memory.body_of(kKey).value();
  const std::string text(reinterpret_cast<const char*>(backup.data()), backup.size());
  std::set<std::uint64_t> forgotten;
  for (const bool changes : {false, true, false, false}) {
    forgotten.insert(live(changes, true).number);
  }
  store_.memory.place_text(kKey, text);
  for (const bool changes : {false, true, false, false, false}) {
    const auto term = live(changes, true);
    EXPECT_FALSE(forgotten.contains(term.number));
    for (const std::uint64_t told : term.unchanged) EXPECT_FALSE(forgotten.contains(told));
    EXPECT_GE(term.changed_in, backed_up.number);
  }
}

TEST_F(LeaseTermTest, OfManyTermsInARowThatChangedNothingTheLastOnesAreTold) {
  live(true, true);
  LeaseTerm last = live(false, true);
  for (std::size_t i = 0; i <= kUnchangedTerms_max; ++i) {
    const LeaseTerm next = live(false, true);
    ASSERT_EQ(next.changed_in, last.changed_in);
    ASSERT_EQ(next.unchanged.back(), last.number);
    last = next;
  }
  EXPECT_EQ(last.unchanged.size(), kUnchangedTerms_max);
  EXPECT_TRUE(is_possible(last));
}

TEST_F(LeaseTermTest, ARecordThatCountsByOneIsFollowedByOneThatTellsItsTerms) {
  LeaseRecord record = place_foreign(LeaseRecord::State::released);
  record.term = {.number = 9, .changed_in = 6, .unchanged = terms_between(6, 9)};
  const LeaseTerm next = term_after(&record, "somebody");
  EXPECT_EQ(next.unchanged, (std::vector<std::uint64_t>{7, 8, 9}));
  EXPECT_EQ(next.changed_in, 6U);
  EXPECT_TRUE(terms_between(6, 6).empty());
  EXPECT_TRUE(terms_between(6, 7).empty());
  EXPECT_EQ(terms_between(6, 1000).size(), kUnchangedTerms_max);
  EXPECT_EQ(terms_between(6, 1000).back(), 999U);
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
  EXPECT_EQ(lease_.term()->number, stored().term->number);
  EXPECT_EQ(lease_.term()->changed_in, former.number);
  EXPECT_TRUE(lease_.term()->unchanged.empty());
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
