// The steps of a slot's life, and that the table, the zeros, the fetches and the store agree on
// them.
#include "filters/cache/state/residents.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "tests/unit/fakes/break_invariant.hpp"

namespace nbdstack::testing {
namespace {

// Notes what the index is told, and lets a test say what is committed.
class NotingLog final : public CacheLog {
 public:
  void taken(Slot slot) override { note("taken", slot); }
  void wrote(Slot slot, BlockNumber, const WriteReceipt&, bool dirty) override {
    note(dirty ? "wrote dirty" : "wrote", slot);
  }
  void zeroed(Slot slot, BlockNumber, const WriteReceipt&, bool) override { note("zeroed", slot); }
  void cleaned(Slot slot, PageMask) override { note("cleaned", slot); }
  void dropped(Slot slot) override { note("dropped", slot); }
  void vacated(Slot slot) override { note("vacated", slot); }
  void zeros_added(const Range&, bool) override { calls.emplace_back("zeros added"); }
  void zeros_removed(const Range&) override { calls.emplace_back("zeros removed"); }
  PageMask committed(Slot, PageMask dirty) const override {
    return (dirty & committed_pages) | wrong_pages;
  }
  PageMask changed_since(Slot, PageMask dirty) const override { return dirty & changed_pages; }
  bool may_reuse(Slot slot) const override { return !kept.contains(slot); }

  std::vector<std::string> take_calls() { return std::exchange(calls, {}); }

  std::vector<std::string> calls;
  PageMask committed_pages = ~PageMask{0};
  PageMask changed_pages = 0;
  PageMask wrong_pages = 0;  // are called committed, though they are not dirty
  std::set<Slot> kept;

 private:
  void note(const std::string& what, Slot slot) {
    calls.push_back(what + " " + std::to_string(slot));
  }
};

class CacheResidents : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kBlock = 64U << 10U;
  static constexpr std::uint64_t kBlocks = 100;
  static constexpr PageMask kAll = 0xffff;
  using Calls = std::vector<std::string>;

  static CacheSettings with_slots(std::uint64_t slots) {
    CacheSettings settings;
    settings.block_size = kBlock;
    settings.max_size_bytes = slots * kBlock;
    settings.timeout = std::chrono::seconds(8);
    return settings;
  }
  static Range blocks(std::uint64_t first, std::uint64_t count = 1) {
    return {first * kBlock, count * kBlock};
  }
  // A block with these pages written, by a client or from below.
  Slot put(std::uint64_t block, PageMask pages = kAll, bool dirty = false) {
    const auto slot = residents.take_slot({block});
    residents.pin(*slot);
    residents.wrote(*slot, {.pages = pages}, dirty);
    residents.unpin(*slot);
    return *slot;
  }
  static bool none_is_busy(BlockNumber /*block*/) { return false; }

  const CacheSettings settings = with_slots(4);
  const BlockGeometry geometry{kBlocks * kBlock, kBlock};
  const PageGeometry page_geometry{kBlock};
  NotingLog log;
  Fetches fetches{geometry};
  Pressure pressure{settings};
  Schedule schedule{settings, false};
  Residents residents{settings, geometry, page_geometry, log, fetches, pressure, schedule};
};

TEST_F(CacheResidents, ASlotIsTakenNamedDroppedAndVacated) {
  const Slot slot = put(7);
  EXPECT_EQ(residents.find({7}), slot);
  residents.drop(slot);
  EXPECT_EQ(residents.find({7}), kNoSlot);
  EXPECT_EQ(log.calls, (Calls{"taken 0", "wrote 0", "dropped 0", "vacated 0"}));
}

TEST_F(CacheResidents, ADroppedSlotIsVacatedWhenItsLastPinGoes) {
  const Slot slot = put(7);
  residents.pin(slot);
  residents.drop(slot);
  EXPECT_EQ(log.take_calls().back(), "dropped 0");
  residents.unpin(slot);
  EXPECT_EQ(log.calls, (Calls{"vacated 0"}));
}

TEST_F(CacheResidents, ASlotOfWhichNothingWasStoredIsGivenUpWithItsPin) {
  const auto slot = residents.take_slot({7});
  residents.pin(*slot);
  residents.unpin(*slot);
  EXPECT_EQ(residents.find({7}), kNoSlot);
  EXPECT_EQ(log.calls, (Calls{"taken 0", "dropped 0", "vacated 0"}));
}

TEST_F(CacheResidents, OnlyWhatIsCleanUnusedAndReusableMakesRoom) {
  put(0, kAll, true);
  const Slot pinned = put(1);
  residents.pin(pinned);
  const Slot kept = put(2);
  log.kept.insert(kept);
  put(3);
  EXPECT_TRUE(residents.may_take_slot());
  EXPECT_TRUE(residents.take_slot({10}));
  EXPECT_EQ(residents.find({3}), kNoSlot);
  residents.pin(residents.find({10}));
  EXPECT_FALSE(residents.may_take_slot());
  EXPECT_FALSE(residents.take_slot({11}));
  EXPECT_EQ(residents.evict(4), 0U);
  EXPECT_TRUE(residents.room_may_come());
}

TEST_F(CacheResidents, WhatLeavesTakesItsFetchWithIt) {
  Fetches::Started started;
  const Slot slot = put(7, 1);
  fetches.join_or_start({7}, true, true, started);
  residents.drop(slot);
  EXPECT_EQ(fetches.find({7}), nullptr);
}

TEST_F(CacheResidents, DroppedWithItsStorageASlotWaitsForItsReaders) {
  const Slot slot = put(7);
  residents.pin(slot);
  residents.drop(slot, Residents::Removal::evicted, true);
  EXPECT_TRUE(residents.to_discard().empty());
  residents.unpin(slot);
  EXPECT_EQ(residents.to_discard(), (std::vector<Slot>{slot}));
  EXPECT_TRUE(residents.to_discard().empty());
  log.calls.clear();
  residents.discarded(slot);
  EXPECT_EQ(log.calls, (Calls{"vacated 0"}));
}

TEST_F(CacheResidents, ABlockIsInASlotOrARangeOfZerosNeverBoth) {
  const Slot slot = put(7, kAll, true);
  residents.remember_zeros(blocks(6, 3), true, {slot});
  EXPECT_EQ(residents.find({7}), kNoSlot);
  EXPECT_TRUE(residents.is_zeros({7}));
  EXPECT_EQ(residents.zeros_in({0, kBlocks * kBlock}), (std::vector<Range>{blocks(6, 3)}));
  const auto again = residents.take_slot({7});
  residents.adopt_zeros(*again);
  EXPECT_FALSE(residents.is_zeros({7}));
  EXPECT_EQ(residents.pages(*again), (Pages{kAll, kAll, kAll, kAll}));
  EXPECT_EQ(residents.zeros_in({0, kBlocks * kBlock}), (std::vector<Range>{blocks(6), blocks(8)}));
  EXPECT_EQ(log.calls, (Calls{"taken 0", "wrote dirty 0", "zeros added", "dropped 0", "vacated 0",
                              "taken 0", "zeroed 0", "zeros removed"}));
}

TEST_F(CacheResidents, WhatIsOnItsWayBelowKeepsItsSlotWhenItsRangeIsZeroed) {
  const Slot slot = put(7, kAll, true);
  EXPECT_EQ(residents.begin_write_back(slot).sent, kAll);
  residents.remember_zeros(blocks(6, 3), false, {slot});
  EXPECT_EQ(residents.find({7}), slot);
  EXPECT_FALSE(residents.is_zeros({7}));
}

TEST_F(CacheResidents, AWriteBackTakesWhatIsCommittedAndSaysWhatHasChanged) {
  const Slot slot = put(7, 0b1111, true);
  log.committed_pages = 0;
  log.changed_pages = 0b1000;
  const auto nothing = residents.begin_write_back(slot);
  EXPECT_EQ(nothing.sent, 0U);
  EXPECT_TRUE(nothing.is_changed);
  EXPECT_FALSE(residents[slot].writing);
  log.committed_pages = 0b0011;
  log.changed_pages = 0;
  const auto some = residents.begin_write_back(slot);
  EXPECT_EQ(some.sent, 0b0011U);
  EXPECT_FALSE(some.is_changed);
  EXPECT_TRUE(residents[slot].writing);
  EXPECT_TRUE(residents[slot].copying);
  EXPECT_EQ(residents.pages(slot).dirty, 0b1100U);
}

TEST_F(CacheResidents, WhatFailedBelowOrWasRewrittenIsDirtyAgain) {
  const Slot slot = put(7, 0b1111, true);
  EXPECT_EQ(residents.begin_write_back(slot).sent, 0b1111U);
  residents.end_copying(slot);
  residents.wrote(slot, {.pages = 0b0001}, true);
  residents.end_write_back(slot, 0b1111, 0b0010);
  residents.unpin(slot);
  EXPECT_EQ(residents.pages(slot).dirty, 0b0011U);
  EXPECT_FALSE(residents[slot].writing);
  EXPECT_EQ(log.calls.back(), "cleaned 0");
}

TEST_F(CacheResidents, ForgetsCleanPagesOnlyAndRemembersThemAgain) {
  const Slot slot = put(7, 0b0011, true);
  residents.pin(slot);
  residents.wrote(slot, {.pages = 0b1100}, false);
  const Pages before = residents.pages(slot);
  EXPECT_EQ(residents.forget_clean(slot, 0b0110), 0b0100U);
  EXPECT_EQ(residents.pages(slot).valid, 0b1011U);
  EXPECT_EQ(residents.forget_clean(slot, 0b0011), 0U);
  residents.remember(slot, before, 0b0100);
  EXPECT_EQ(residents.pages(slot), before);
}

TEST_F(CacheResidents, WhatIsDamagedAndWasDirtyIsAnErrorUntilItIsCured) {
  residents.take_over(
      {.blocks = {{.slot = 2, .block = {7}, .pages = {.valid = 0b11, .dirty = 0b01}}}, .slots = 3});
  EXPECT_TRUE(residents.is_unverified(2));
  residents.begin_verify(2);
  const auto before = residents.end_verify(2, true, false);
  ASSERT_TRUE(before);
  EXPECT_EQ(before->valid, 0b11U);
  EXPECT_FALSE(residents.is_unverified(2));
  EXPECT_EQ(residents.pages(2).damaged(), 0b01U);
  EXPECT_EQ(residents.damaged_blocks(), 1U);
  EXPECT_EQ(residents.first_damaged(), (BlockNumber{7}));
  residents.cure(2, 0b01);
  EXPECT_EQ(residents.damaged_blocks(), 0U);
}

TEST_F(CacheResidents, WhatCouldNotBeLookedAtIsLookedAtAgain) {
  residents.take_over({.blocks = {{.slot = 0, .block = {7}, .pages = {.valid = 1}}}, .slots = 1});
  residents.begin_verify(0);
  EXPECT_FALSE(residents.end_verify(0, false, false));
  EXPECT_TRUE(residents.is_unverified(0));
  EXPECT_EQ(residents.pages(0).valid, 1U);
}

TEST_F(CacheResidents, AnEndWithoutABeginningIsABrokenInvariant) {
  const Slot slot = put(7, kAll, true);
  EXPECT_BROKEN(residents.unpin(slot), "pins != 0");
  EXPECT_BROKEN(residents.end_write_back(slot, 1, 0), "writing");
  EXPECT_BROKEN(residents.wrote(slot, {.pages = 1}, true), "pins != 0");
  EXPECT_BROKEN(residents.remember_zeros({1, kBlock}, true, {}), "block_size");
  EXPECT_BROKEN(residents.remember_zeros({0, kBlock + 1}, true, {}), "blocks.end.. = 65537");
  EXPECT_BROKEN(residents.zeroed(slot, 1, {}, true), "pins != 0");
  EXPECT_BROKEN(residents.retire(slot), "!is_unwritten.slot.");
  EXPECT_BROKEN(residents.begin_verify(slot), "unverified");
  EXPECT_BROKEN((void)residents.end_verify(slot, true, true), "verifying");
  EXPECT_EQ(residents.begin_write_back(slot).sent, kAll);
  EXPECT_BROKEN(residents.drop(slot), "writing");
  EXPECT_BROKEN((void)residents.begin_write_back(slot), "writing");
}

TEST_F(CacheResidents, APageThatIsNotTheBlocksIsABrokenInvariant) {
  constexpr PageMask kBeyond = kAll + 1;
  const Slot slot = put(7, 0b0011, true);
  residents.pin(slot);
  EXPECT_BROKEN(residents.wrote(slot, {.pages = kBeyond}, true), "slot, stored.pages = 0, 65536");
  EXPECT_BROKEN(residents.zeroed(slot, kBeyond, {}, true), "slot, covered = 0, 65536");
  log.wrong_pages = 0b0100;
  EXPECT_BROKEN((void)residents.begin_write_back(slot), "claim.sent, pages.dirty = 0, 7, 3");
  log.wrong_pages = 0;
  EXPECT_EQ(residents.begin_write_back(slot).sent, 0b0011U);
  EXPECT_BROKEN(residents.end_write_back(slot, 0b0001, 0b0010), "sent, failed = 0, 1, 2");
}

TEST_F(CacheResidents, CleanBlocksExpireAndDirtyOnesStay) {
  schedule.advance(TimePoint(std::chrono::hours(1)));
  put(0);
  put(1, kAll, true);
  schedule.advance(TimePoint(std::chrono::hours(1) + std::chrono::seconds(9)));
  put(2);
  EXPECT_TRUE(residents.drop_expired(0, 2));
  EXPECT_FALSE(residents.drop_expired(2, 2));
  EXPECT_EQ(residents.find({0}), kNoSlot);
  EXPECT_NE(residents.find({1}), kNoSlot);
  EXPECT_NE(residents.find({2}), kNoSlot);
}

TEST_F(CacheResidents, SaysWhatIsToBeWrittenBack) {
  put(9, kAll, true);
  put(3, 1, true);
  put(5);
  residents.remember_zeros(blocks(20, 2), true, {});
  EXPECT_EQ(residents.unwritten_blocks({0, 9 * kBlock}), (std::vector<BlockNumber>{{3}}));
  EXPECT_EQ(residents.unwritten_bytes(), 3 * kBlock + 4096);
  EXPECT_EQ(residents.dirty_bytes(), 2 * kBlock);
  EXPECT_EQ(residents.oldest_unwritten(1, none_is_busy), (std::vector<BlockNumber>{{9}}));
  EXPECT_EQ(residents.next_to_evict(9, none_is_busy), (std::vector<BlockNumber>{{3}, {9}}));
  const auto nine_is_busy = [](BlockNumber block) { return block.value == 9; };
  EXPECT_EQ(residents.oldest_unwritten(9, nine_is_busy), (std::vector<BlockNumber>{{3}}));
  EXPECT_EQ(residents.next_to_evict(9, nine_is_busy), (std::vector<BlockNumber>{{3}}));
}

}  // namespace
}  // namespace nbdstack::testing
