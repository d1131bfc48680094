// DurableStore: commits between the verbs of one change, and the states of a slot (slot_store.hpp).
#include <gtest/gtest.h>

#include <functional>

#include "common/error.hpp"
#include "tests/unit/cache/store/durable/durable_fixture.hpp"

namespace nbdstack::testing {
namespace {

class ProtocolTest : public DurableStoreTest {
 protected:
  // A slot that a committed index calls dirty, and whose block has gone.
  void leave_held(Slot slot) {
    put(slot, 0, 1, true);
    store_->commit();
    drop(slot);
  }
};

// The page goes into data2, because the committed index needs the one in data; the commit ends that
// need, and must not take what has just been written for a leftover.
TEST_F(ProtocolTest, ACommitBetweenWriteAndWroteOfASlotThatWasTakenAgain) {
  leave_held(0);
  take(0);
  const WriteReceipt stored = store_->write(0, bytes(kPage, 5), 0, 0);
  store_->commit();
  store_->wrote(0, {9}, stored, true);
  EXPECT_EQ(get(0, 0), 5);
  store_->commit();
  restart();
  EXPECT_EQ(pages_of(9).dirty, 0b0001U);
  EXPECT_TRUE(store_->verify(0, 0b0001));
  EXPECT_EQ(get(0, 0), 5);
}

TEST_F(ProtocolTest, TwoWritesOfASlotThatWasTakenAgainAndACommitBetweenThem) {
  leave_held(0);
  take(0);
  const WriteReceipt first = store_->write(0, bytes(kPage, 5), 0, 0);
  const WriteReceipt second = store_->write(0, bytes(kPage, 6), kPage, 0);
  store_->wrote(0, {9}, second, true);
  store_->commit();
  store_->wrote(0, {9}, first, false);
  store_->commit();
  EXPECT_EQ(get(0, 0), 5);
  EXPECT_EQ(get(0, 1), 6);
  restart();
  EXPECT_TRUE(store_->verify(0, 0b0011));
}

// The commit knows the second content, so the third must not be written over it.
TEST_F(ProtocolTest, ACommitBetweenAnOverwriteAndItsWrote) {
  put(0, 0, 1, true);
  const WriteReceipt second = store_->write(0, bytes(kPage, 2), 0, 0b0001);
  store_->commit();
  store_->wrote(0, {0}, second, true);
  EXPECT_EQ(store_->committed(0, 0b0001), 0b0001U);
  store_->write(0, bytes(kPage, 3), 0, 0b0001);
  EXPECT_EQ(disk_.content("data")[0], std::byte{2});
  restart();
  EXPECT_TRUE(store_->verify(0, 0b0001));
  EXPECT_EQ(get(0, 0), 2);
}

TEST_F(ProtocolTest, AReaderOfADroppedSlotFindsWhatWasThere) {
  put(0, 0, 1, true);
  store_->commit();
  put(0, 0, 2, true, 0b0001);
  store_->commit();
  store_->cleaned(0, 0b0001);
  store_->commit();
  store_->dropped(0);
  store_->commit();
  EXPECT_EQ(get(0, 0), 2);
  store_->vacated(0);
  store_->commit();
  EXPECT_EQ(store_->extra_slots(), 0U);
}

TEST_F(ProtocolTest, ZerosAreCommittedWhenTheirOwnCommitIs) {
  const Range range{8 * kBlock, 2 * kBlock};
  EXPECT_TRUE(store_->zeros_committed(range));
  store_->zeros_added(range, false);
  EXPECT_FALSE(store_->zeros_committed({9 * kBlock, kBlock}));
  EXPECT_TRUE(store_->zeros_committed({10 * kBlock, kBlock}));
  store_->commit();
  EXPECT_TRUE(store_->zeros_committed(range));
}

TEST_F(ProtocolTest, TellsWhatWasChangedSinceItWasCommittedDirty) {
  put(0, 0, 1, true);
  put(0, 0, 2, true, 0b0001);
  put(0, 1, 1, false);
  EXPECT_EQ(store_->changed_since(0, 0b1111), 0U);
  store_->commit();
  put(0, 0, 3, true, 0b0011);
  put(0, 1, 3, true, 0b0011);
  put(0, 2, 3, true);
  EXPECT_EQ(store_->changed_since(0, 0b1111), 0b0001U);
  zero(0, 0b0010, 0b0010);
  EXPECT_EQ(store_->changed_since(0, 0b1111), 0b0001U);
  store_->commit();
  zero(0, 0b0110, 0b0100);
  EXPECT_EQ(store_->changed_since(0, 0b1111), 0b0110U);
  store_->commit();
  EXPECT_EQ(store_->changed_since(0, 0b1111), 0U);
}

// Not one of them may go unnoticed: afterwards nothing is said to be durable.
TEST_F(ProtocolTest, WhatAStateDoesNotAllowIsReported) {
  using Body = std::function<void(DurableStore&)>;
  const WriteReceipt stored{.pages = 1};
  const std::vector<Body> faults{
      [&](DurableStore& store) { store.wrote(7, {7}, stored, true); },
      [&](DurableStore& store) { store.zeroed(7, {7}, {.pages = 1}, false); },
      [&](DurableStore& store) { store.cleaned(7, 1); },
      [&](DurableStore& store) { store.forgotten(7, {.pages = 1}); },
      [&](DurableStore& store) { store.dropped(7); },
      [&](DurableStore& store) { store.vacated(7); },
      [&](DurableStore& store) { store.discard(7); },
      [&](DurableStore& store) { EXPECT_THROW(store.write(7, bytes(kPage, 1), 0, 0), Error); },
      [&](DurableStore& store) { EXPECT_THROW(store.forget(7, 1, 0), Error); },
      [&](DurableStore& store) { EXPECT_FALSE(store.verify(7, 1)); },
      [&](DurableStore& store) {
        store.taken(7);
        store.taken(7);
      },
      [&](DurableStore& store) {
        store.taken(7);
        store.dropped(7);
        store.wrote(7, {7}, stored, true);
      },
      [&](DurableStore& store) {
        store.taken(7);
        store.vacated(7);
      },
  };
  for (std::size_t i = 0; i < faults.size(); ++i) {
    restart();
    logged_errors().clear();
    put(0, 0, 1, true, pages_of(0).stored());
    faults[i](*store_);
    EXPECT_EQ(logged_errors().size(), 1U) << i;
    EXPECT_THROW(store_->commit(), Error) << i;
    EXPECT_THROW(store_->close({}), Error) << i;
  }
}

}  // namespace
}  // namespace nbdstack::testing
