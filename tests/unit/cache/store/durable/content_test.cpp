// DurableStore: where content goes, and what it is worth.
#include <gtest/gtest.h>

#include "tests/unit/cache/store/durable/durable_fixture.hpp"

namespace nbdstack::testing {
namespace {

TEST_F(DurableStoreTest, ReadsWhatWasWritten) {
  put(0, 1, 7, true);
  put(0, 2, 8, false);
  EXPECT_EQ(get(0, 1), 7);
  EXPECT_EQ(get(0, 2), 8);
  EXPECT_TRUE(store_->is_durable());
  EXPECT_TRUE(store_->verify(0, 0b0110));
}

TEST_F(DurableStoreTest, KeepsTheRestOfAStoredPage) {
  put(0, 0, 1, false);
  const WriteReceipt stored = store_->write(0, bytes(100, 2), 50, 0b0001);
  store_->wrote(0, {0}, stored, true);
  std::vector<std::byte> page(kPage);
  store_->read(0, page, 0);
  EXPECT_EQ(page[49], std::byte{1});
  EXPECT_EQ(page[50], std::byte{2});
  EXPECT_EQ(page[149], std::byte{2});
  EXPECT_EQ(page[150], std::byte{1});
  EXPECT_TRUE(store_->verify(0, 0b0001));
}

TEST_F(DurableStoreTest, FillsTheRestOfANewPageWithZeros) {
  put(0, 0, 9, false);
  drop(0);
  take(0);
  const WriteReceipt stored = store_->write(0, bytes(100, 2), 50, 0);
  store_->wrote(0, {1}, stored, true);
  std::vector<std::byte> page(kPage);
  store_->read(0, page, 0);
  EXPECT_EQ(page[49], std::byte{0});
  EXPECT_EQ(page[50], std::byte{2});
  EXPECT_EQ(page[150], std::byte{0});
}

TEST_F(DurableStoreTest, OverwritesInPlaceWhatNoCommitKnows) {
  put(0, 0, 1, true);
  put(0, 0, 2, true, 0b0001);
  EXPECT_EQ(store_->extra_slots(), 0U);
  EXPECT_EQ(get(0, 0), 2);
  EXPECT_TRUE(store_->verify(0, 0b0001));
}

TEST_F(DurableStoreTest, LeavesCommittedDirtyContentAlone) {
  put(0, 0, 1, true);
  store_->commit();
  put(0, 0, 2, true, 0b0001);
  EXPECT_EQ(store_->extra_slots(), 1U);
  EXPECT_EQ(get(0, 0), 2);
  store_->commit();
  put(0, 0, 3, true, 0b0001);
  EXPECT_EQ(get(0, 0), 3);
  EXPECT_EQ(disk_.content("data")[0], std::byte{3});
  EXPECT_EQ(disk_.content("data2")[0], std::byte{2});
}

TEST_F(DurableStoreTest, OverwritesCleanContentInPlace) {
  put(0, 0, 1, false);
  store_->commit();
  put(0, 0, 2, true, 0b0001);
  EXPECT_EQ(store_->extra_slots(), 0U);
  EXPECT_EQ(get(0, 0), 2);
}

TEST_F(DurableStoreTest, LeavesCleanPagesBesideDirtyOnesAlone) {
  put(0, 0, 1, false);
  put(0, 1, 1, true);
  store_->commit();
  put(0, 0, 2, true, 0b0011);
  EXPECT_EQ(disk_.content("data")[0], std::byte{1});
}

TEST_F(DurableStoreTest, OnlyCommittedPagesMayGoBelow) {
  put(0, 0, 1, true);
  EXPECT_EQ(store_->committed(0, 0b0001), 0U);
  store_->commit();
  EXPECT_EQ(store_->committed(0, 0b0001), 0b0001U);
  put(0, 1, 1, true);
  zero(0, 0b0100, 0);
  EXPECT_EQ(store_->committed(0, 0b0111), 0b0001U);
  put(0, 0, 2, true, 0b0011);
  EXPECT_EQ(store_->committed(0, 0b0111), 0U);
}

TEST_F(DurableStoreTest, ASlotIsReusedWhenItsCleaningIsCommitted) {
  EXPECT_TRUE(store_->may_reuse(0));
  put(0, 0, 1, true);
  store_->commit();
  EXPECT_FALSE(store_->may_reuse(0));
  store_->cleaned(0, 0b0001);
  EXPECT_FALSE(store_->may_reuse(0));
  store_->commit();
  EXPECT_TRUE(store_->may_reuse(0));
}

TEST_F(DurableStoreTest, ADroppedSlotGivesItsSecondCopyBack) {
  put(0, 0, 1, true);
  store_->commit();
  put(0, 0, 2, true, 0b0001);
  store_->commit();
  store_->cleaned(0, 0b0001);
  store_->commit();
  EXPECT_EQ(store_->extra_slots(), 1U);
  drop(0);
  store_->commit();
  EXPECT_EQ(store_->extra_slots(), 0U);
  EXPECT_EQ(disk_.content("data2")[0], std::byte{0});
}

TEST_F(DurableStoreTest, ASlotThatIsUsedAgainGivesItsSecondCopyBackFirst) {
  put(0, 0, 1, true);
  store_->commit();
  put(0, 0, 2, true, 0b0001);
  store_->cleaned(0, 0b0001);
  store_->commit();
  drop(0);
  take(0);
  const WriteReceipt stored = store_->write(0, bytes(kPage, 5), 0, 0);
  store_->wrote(0, {9}, stored, true);
  EXPECT_EQ(store_->extra_slots(), 0U);
  EXPECT_EQ(get(0, 0), 5);
}

TEST_F(DurableStoreTest, DiscardGivesStorageBackUnlessACommitNeedsIt) {
  put(0, 0, 1, true);
  store_->commit();
  store_->dropped(0);
  store_->discard(0);
  EXPECT_EQ(disk_.content("data")[0], std::byte{1});
  store_->commit();
  store_->discard(0);
  EXPECT_EQ(disk_.content("data")[0], std::byte{0});
}

TEST_F(DurableStoreTest, DamagedContentIsFoundAndNotCountedAgain) {
  put(0, 0, 1, true);
  put(0, 1, 2, false);
  store_->close({});
  damage("data", 100);
  restart();
  EXPECT_FALSE(store_->verify(0, 0b0011));
  // Everything stored is as good as absent; what is written again counts alone.
  put(0, 1, 3, true);
  EXPECT_TRUE(store_->verify(0, 0b0010));
  store_->commit();
  restart();
  EXPECT_EQ(pages_of(0), (Pages{.valid = 0b0010, .dirty = 0b0011, .zero = 0, .hole = 0}));
  EXPECT_EQ(pages_of(0).damaged(), 0b0001U);
  EXPECT_TRUE(store_->verify(0, 0b0010));
}

TEST_F(DurableStoreTest, ContentThatCannotBeReadDoesNotVerify) {
  put(0, 0, 1, true);
  EXPECT_FALSE(store_->verify(0, 0b0011));
}

TEST_F(DurableStoreTest, AFullDiskNotesNothing) {
  put(0, 0, 1, true);
  store_->commit();
  fail_on(Kind::write, "data", ENOSPC);
  EXPECT_THROW(put(0, 0, 2, true, 0b0001), Error);
  EXPECT_THROW(put(1, 0, 2, true), Error);
  disk_.set_hook({});
  EXPECT_EQ(get(0, 0), 1);
  EXPECT_TRUE(store_->verify(0, 0b0001));
  store_->commit();
  restart();
  EXPECT_EQ(recovered_.blocks.size(), 1U);
}

TEST_F(DurableStoreTest, AFailedOverwriteLeavesTheChecksumRight) {
  put(0, 0, 1, false);
  put(0, 1, 1, true);
  fail_on(Kind::write, "data", ENOSPC);
  EXPECT_THROW(put(0, 0, 2, true, 0b0011), Error);
  EXPECT_THROW(put(0, 1, 2, true, 0b0011), Error);
  disk_.set_hook({});
  EXPECT_TRUE(store_->verify(0, 0b0011));
  store_->commit();
  restart();
  EXPECT_TRUE(store_->verify(0, pages_of(0).stored()));
  EXPECT_EQ(pages_of(0).dirty, 0b0010U);
}

TEST_F(DurableStoreTest, ASecondCopyThatCannotBePunchedIsUsedOn) {
  put(0, 0, 1, true);
  store_->commit();
  put(0, 0, 2, true, 0b0001);
  store_->cleaned(0, 0b0001);
  store_->commit();
  drop(0);
  fail_on(Kind::punch, "data", EIO);
  store_->commit();
  EXPECT_EQ(store_->extra_slots(), 1U);
  EXPECT_EQ(logged_errors().size(), 1U);
  take(0);
  store_->dropped(0);
  EXPECT_THROW(store_->discard(0), Error);
}

}  // namespace
}  // namespace nbdstack::testing
