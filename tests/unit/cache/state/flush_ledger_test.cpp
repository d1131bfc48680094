// What a flush of a client has to wait for, and to say.
#include "filters/cache/state/flush_ledger.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/fakes/break_invariant.hpp"

namespace nbdstack::testing {
namespace {

TEST(CacheFlushLedger, AFailureBelowIsADoubtUntilAFlushHasFollowed) {
  FlushLedger ledger;
  EXPECT_FALSE(ledger.is_in_doubt());
  ledger.doubt();
  EXPECT_TRUE(ledger.is_in_doubt());
  ledger.flushed(ledger.doubts());
  EXPECT_FALSE(ledger.is_in_doubt());
}

TEST(CacheFlushLedger, AFlushSettlesNoDoubtThatCameWhileItRan) {
  FlushLedger ledger;
  ledger.doubt();
  const auto before = ledger.doubts();
  ledger.doubt();
  ledger.flushed(before);
  EXPECT_TRUE(ledger.is_in_doubt());
}

TEST(CacheFlushLedger, OnlyOlderTicketsAreWaitedFor) {
  FlushLedger ledger;
  const auto first = ledger.open();
  const auto second = ledger.open();
  const auto third = ledger.open();
  EXPECT_TRUE(ledger.is_oldest(first));
  EXPECT_FALSE(ledger.is_oldest(second));
  ledger.close(second);
  EXPECT_FALSE(ledger.is_oldest(third));
  ledger.close(first);
  EXPECT_TRUE(ledger.is_oldest(third));
}

TEST(CacheFlushLedger, AFailureIsReportedOnce) {
  FlushLedger ledger;
  EXPECT_FALSE(ledger.take_failure());
  ledger.remember_failure(Error(ENOSPC, "full"));
  ledger.remember_failure(Error(EIO, "broken"));
  const auto failure = ledger.take_failure();
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->code(), EIO);  // the last one
  EXPECT_FALSE(ledger.take_failure());
  ledger.remember_failure(Error(EIO, "broken"));
  ledger.forget_failure();
  EXPECT_FALSE(ledger.take_failure());
}

TEST(CacheFlushLedger, AnEndOfWhatNeverBeganIsABrokenInvariant) {
  FlushLedger ledger;
  ledger.doubt();
  EXPECT_BROKEN(ledger.flushed(2), "doubts_before, doubts_ = 2, 1");
  const auto ticket = ledger.open();
  EXPECT_BROKEN(ledger.close(ticket + 1), "was_open");
  ledger.close(ticket);
  EXPECT_BROKEN(ledger.close(ticket), "was_open");
}

}  // namespace
}  // namespace nbdstack::testing
