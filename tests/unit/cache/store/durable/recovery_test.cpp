// DurableStore: what a start finds.
#include <gtest/gtest.h>

#include "tests/unit/cache/store/durable/durable_fixture.hpp"

namespace nbdstack::testing {
namespace {

std::vector<std::uint64_t> seeds() {
  std::vector<std::uint64_t> all;
  for (std::uint64_t seed = 0; seed < 40; ++seed) all.push_back(seed);
  return all;
}

TEST_F(DurableStoreTest, AnEmptyDirectoryIsAnEmptyCache) {
  EXPECT_TRUE(recovered_.blocks.empty());
  EXPECT_TRUE(recovered_.zeros.empty());
  EXPECT_EQ(recovered_.slots, 0U);
}

TEST_F(DurableStoreTest, WhatWasCommittedIsThereAfterEveryCrash) {
  for (const std::uint64_t seed : seeds()) {
    const int value = static_cast<int>(seed) + 1;
    put(3, 1, value, true, pages_of(3).stored());
    store_->zeros_added({16 * kBlock, 2 * kBlock}, true);
    store_->commit();
    crash(seed);
    ASSERT_EQ(pages_of(3), (Pages{.valid = 0b0010, .dirty = 0b0010, .zero = 0, .hole = 0}));
    ASSERT_TRUE(store_->verify(3, 0b0010));
    ASSERT_EQ(get(3, 1), value);
    ASSERT_EQ(recovered_.zeros.size(), 1U);
    ASSERT_EQ(recovered_.zeros[0].range, (Range{16 * kBlock, 2 * kBlock}));
    ASSERT_TRUE(recovered_.zeros[0].may_trim);
    ASSERT_EQ(recovered_.slots, 4U);
  }
  EXPECT_TRUE(logged_errors().empty());
}

TEST_F(DurableStoreTest, WhatWasPublishedIsThereAfterAKill) {
  put(0, 0, 1, true);
  put(0, 1, 2, false);
  zero(1, 0b0011, 0);
  store_->zeros_added({8 * kBlock, kBlock}, false);
  store_->publish();
  restart();
  EXPECT_EQ(pages_of(0), (Pages{.valid = 0b0011, .dirty = 0b0001, .zero = 0, .hole = 0}));
  EXPECT_EQ(pages_of(1), (Pages{.valid = 0b0011, .dirty = 0b0011, .zero = 0b0011, .hole = 0}));
  EXPECT_EQ(recovered_.zeros.size(), 1U);
  EXPECT_TRUE(store_->verify(0, 0b0011));
}

TEST_F(DurableStoreTest, WhatWasNotPublishedIsGone) {
  put(0, 0, 1, true);
  restart();
  EXPECT_TRUE(recovered_.blocks.empty());
}

// The file has what was written last; the journal knows what came before.
TEST_F(DurableStoreTest, APublishedPageWithOtherContentFallsBack) {
  put(0, 0, 1, true);
  store_->commit();
  put(0, 0, 2, true, 0b0001);
  put(1, 0, 5, true);
  store_->publish();
  damage("data2", 10);
  damage("data", kBlock + 10);
  restart();
  EXPECT_EQ(pages_of(0).dirty, 0b0001U);
  EXPECT_TRUE(store_->verify(0, 0b0001));
  EXPECT_EQ(get(0, 0), 1);
  EXPECT_EQ(pages_of(1), Pages());
  EXPECT_TRUE(logged_errors().empty());
}

TEST_F(DurableStoreTest, ACleanPageThatWasOverwrittenIsForgottenAndNothingElse) {
  put(0, 0, 1, false);
  put(0, 1, 1, false);
  put(0, 2, 1, false);
  store_->commit();
  put(0, 0, 2, true, 0b0111);
  store_->publish();
  // In place, and never noted.
  store_->write(0, bytes(kPage, 9), kPage, 0b0111);
  restart();
  EXPECT_EQ(pages_of(0).dirty, 0b0001U);
  EXPECT_EQ(get(0, 0), 2);
  EXPECT_TRUE(store_->verify(0, pages_of(0).stored()));
}

TEST_F(DurableStoreTest, ASlotThatWentToAnotherBlockInTheTail) {
  put(0, 0, 1, false);
  store_->commit();
  drop(0);
  take(0);
  store_->wrote(0, {7}, store_->write(0, bytes(kPage, 4), 0, 0), true);
  store_->publish();
  restart();
  EXPECT_EQ(pages_of(0), Pages());
  EXPECT_EQ(pages_of(7).dirty, 0b0001U);
  EXPECT_EQ(get(0, 0), 4);
}

TEST_F(DurableStoreTest, ZerosOverASlotCountThoughItsDropIsLost) {
  put(5, 0, 1, true);
  store_->commit();
  store_->zeros_added({5 * kBlock, kBlock}, false);
  store_->publish();
  restart();
  EXPECT_EQ(pages_of(5), Pages());
  ASSERT_EQ(recovered_.zeros.size(), 1U);
}

TEST_F(DurableStoreTest, ASlotThatTakesOverZerosCounts) {
  store_->zeros_added({5 * kBlock, 2 * kBlock}, false);
  store_->commit();
  take(5);
  store_->zeroed(5, {5}, {.pages = 0b1111}, false);
  store_->publish();
  restart();
  EXPECT_EQ(pages_of(5).zero, 0b1111U);
  ASSERT_EQ(recovered_.zeros.size(), 1U);
  EXPECT_EQ(recovered_.zeros[0].range, (Range{6 * kBlock, kBlock}));
}

TEST_F(DurableStoreTest, CleanedInTheTailIsTrue) {
  put(0, 0, 1, true);
  store_->commit();
  store_->cleaned(0, 0b0001);
  store_->publish();
  restart();
  EXPECT_EQ(pages_of(0), (Pages{.valid = 0b0001, .dirty = 0, .zero = 0, .hole = 0}));
}

TEST_F(DurableStoreTest, AnOrderlyStopKeepsTheOrder) {
  for (Slot slot = 0; slot < 6; ++slot) put(slot, 0, 1, slot % 2 == 0);
  const std::vector<Slot> order{4, 1, 0, 5, 3, 2};
  store_->close(order);
  restart();
  std::vector<Slot> found;
  for (const RecoveredBlock& block : recovered_.blocks) found.push_back(block.slot);
  EXPECT_EQ(found, order);
  EXPECT_EQ(disk_.content(only_file("journal.")).size(), 0U);
}

TEST_F(DurableStoreTest, AfterACrashWhatTheJournalNamesComesLast) {
  for (Slot slot = 0; slot < 4; ++slot) put(slot, 0, 1, false);
  store_->close(std::vector<Slot>{3, 2, 1, 0});
  restart();
  put(2, 1, 1, false, 0b0001);
  store_->commit();
  restart();
  std::vector<Slot> found;
  for (const RecoveredBlock& block : recovered_.blocks) found.push_back(block.slot);
  EXPECT_EQ(found, (std::vector<Slot>{3, 1, 0, 2}));
}

TEST_F(DurableStoreTest, ALongJournalIsReplaced) {
  store_->set_shortest_journal_bytes(2000);
  for (int i = 0; i < 100; ++i) {
    put(static_cast<Slot>(i % 8), 0, i, true, i < 8 ? 0 : 0b0001);
    if (i % 4 == 0) store_->commit();
    ASSERT_LT(disk_.content(only_file("journal.")).size(), 4000U);
  }
  store_->commit();
  const std::string snapshot = only_file("index.");
  EXPECT_NE(snapshot, "more than one");
  restart();
  EXPECT_EQ(recovered_.blocks.size(), 8U);
  for (const RecoveredBlock& block : recovered_.blocks) {
    EXPECT_TRUE(store_->verify(block.slot, block.pages.stored()));
  }
}

TEST_F(DurableStoreTest, WithoutRoomForASnapshotTheJournalsGoOn) {
  store_->set_shortest_journal_bytes(500);
  fail_on(Kind::write, "index.new", ENOSPC);
  for (int i = 0; i < 20; ++i) {
    put(static_cast<Slot>(i), 0, i, true);
    store_->commit();
  }
  EXPECT_FALSE(logged_errors().empty());
  disk_.set_hook({});
  restart();
  EXPECT_EQ(recovered_.blocks.size(), 20U);
}

TEST_F(DurableStoreTest, WithoutRoomForTheFirstSnapshotThereIsNoStart) {
  put(0, 0, 1, true);
  store_->commit();
  fail_on(Kind::write, "index.new", ENOSPC);
  EXPECT_THROW(restart(), Error);
  disk_.set_hook({});
  restart();
  EXPECT_EQ(recovered_.blocks.size(), 1U);
}

TEST_F(DurableStoreTest, ATornTailIsNormal) {
  put(0, 0, 1, true);
  store_->commit();
  put(1, 0, 1, true);
  store_->publish();
  const std::string journal = only_file("journal.");
  damage(journal, disk_.content(journal).size() - 20);
  restart();
  EXPECT_EQ(recovered_.blocks.size(), 1U);
  EXPECT_TRUE(logged_errors().empty());
}

TEST_F(DurableStoreTest, ADamagedJournalIsRefusedAndItsDirtyBlocksCanBeSalvaged) {
  put(0, 0, 1, true);
  put(1, 0, 1, false);
  put(1, 1, 1, true);
  put(2, 0, 1, false);
  store_->commit();
  const std::string journal = only_file("journal.");
  const std::size_t position = disk_.content(journal).size() + 100;
  put(3, 0, 1, true);
  store_->commit();
  put(4, 0, 1, true);
  store_->commit();
  damage(journal, position - 60);
  const std::string message = refusal();
  EXPECT_NE(message.find("journal in /simulated is damaged"), std::string::npos) << message;
  EXPECT_NE(message.find("cache-salvage=true"), std::string::npos) << message;
  restart(Damaged::salvage);
  EXPECT_FALSE(logged_errors().empty());
  EXPECT_EQ(pages_of(0).dirty, 0b0001U);
  EXPECT_EQ(pages_of(1), (Pages{.valid = 0b0010, .dirty = 0b0010, .zero = 0, .hole = 0}));
  EXPECT_TRUE(store_->verify(1, 0b0010));
  EXPECT_EQ(pages_of(2), Pages());
  EXPECT_EQ(pages_of(3), Pages());
  EXPECT_EQ(pages_of(4).dirty, 0b0001U);
}

TEST_F(DurableStoreTest, ADamagedSnapshotLosesAPartAndSaysSo) {
  for (Slot slot = 0; slot < 3; ++slot) put(slot, 0, 1, true);
  store_->zeros_added({8 * kBlock, kBlock}, false);
  store_->close({});
  const std::string snapshot = only_file("index.");
  damage(snapshot, 64 + 8 + 5);
  EXPECT_NE(refusal().find("3 blocks"), std::string::npos);
  logged_errors().clear();
  restart(Damaged::salvage);
  EXPECT_TRUE(recovered_.blocks.empty());
  EXPECT_EQ(recovered_.zeros.size(), 1U);
  ASSERT_FALSE(logged_errors().empty());
  EXPECT_NE(logged_errors()[0].find("3 blocks"), std::string::npos);
  // Once is enough.
  logged_errors().clear();
  restart();
  EXPECT_TRUE(logged_errors().empty());
}

TEST_F(DurableStoreTest, ADamagedHeaderLosesTheSnapshotButNotTheJournal) {
  put(0, 0, 1, true);
  store_->close({});
  restart();
  put(1, 0, 1, true);
  store_->commit();
  damage(only_file("index."), 20);
  EXPECT_NE(refusal().find("index."), std::string::npos);
  restart(Damaged::salvage);
  EXPECT_EQ(pages_of(0), Pages());
  EXPECT_EQ(pages_of(1).dirty, 0b0001U);
}

TEST_F(DurableStoreTest, ALostOrOlderJournalIsRefused) {
  put(0, 0, 1, true);
  store_->commit();
  const std::string journal = only_file("journal.");
  const auto older = disk_.content(journal);
  put(1, 0, 1, true);
  store_->commit();
  const auto whole = disk_.content(journal);
  disk_.replace(journal, older);
  EXPECT_NE(refusal().find("an older copy"), std::string::npos);
  disk_.replace(journal, {});
  EXPECT_NE(refusal().find("changes 1 to 2"), std::string::npos);
  disk_.lose(journal);
  EXPECT_NE(refusal().find("cache-salvage=true"), std::string::npos);
  disk_.replace(journal, whole);
  restart();
  EXPECT_EQ(recovered_.blocks.size(), 2U);
}

// The commit record alone: everything that it covers is there.
TEST_F(DurableStoreTest, ACommitRecordThatIsCutOffIsNotMissed) {
  put(0, 0, 1, true);
  store_->commit();
  const std::string journal = only_file("journal.");
  auto content = disk_.content(journal);
  content.resize(content.size() - 64);
  disk_.replace(journal, content);
  restart();
  EXPECT_EQ(pages_of(0).dirty, 0b0001U);
  EXPECT_TRUE(store_->verify(0, 0b0001));
}

TEST_F(DurableStoreTest, ADamagedIndexOfACacheWithNothingDirtyIsAnEmptyCache) {
  put(0, 0, 1, true);
  store_->zeros_added({8 * kBlock, kBlock}, false);
  store_->commit();
  store_->cleaned(0, 0b0001);
  store_->commit();
  const auto journal = only_file("journal.");
  const SimulatedDisk with_zeros = disk_.copy();
  store_->zeros_removed({8 * kBlock, kBlock});
  store_->commit();
  const SimulatedDisk clean = disk_.copy();
  disk_ = with_zeros.copy();
  disk_.lose(journal);
  EXPECT_NE(refusal().find("journal"), std::string::npos);
  disk_ = clean.copy();
  disk_.lose(journal);
  restart();
  EXPECT_TRUE(recovered_.blocks.empty());
  EXPECT_TRUE(recovered_.zeros.empty());
  ASSERT_EQ(logged_errors().size(), 1U);
  EXPECT_NE(logged_errors()[0].find("starts empty"), std::string::npos);
  put(0, 0, 1, true);
  store_->commit();
  restart();
  EXPECT_EQ(recovered_.blocks.size(), 1U);
}

TEST_F(DurableStoreTest, DirtyChangesAfterTheLastCommitAreNoReasonToThrowThemAway) {
  put(0, 0, 1, false);
  store_->commit();
  put(1, 0, 1, true);
  store_->publish();
  const auto journal = only_file("journal.");
  damage(journal, 20);
  EXPECT_NE(refusal().find("(16384 bytes)"), std::string::npos);
  restart(Damaged::salvage);
  EXPECT_EQ(pages_of(1).dirty, 0b0001U);
}

// By a power loss: what is not synced by the commit says less then, and nothing wrong.
TEST_F(DurableStoreTest, ANoteThatIsBehindIsNoDamage) {
  for (const std::uint64_t seed : seeds()) {
    put(0, 0, static_cast<int>(seed) + 1, true, pages_of(0).stored());
    store_->commit();
    put(1, 0, static_cast<int>(seed) + 1, true, pages_of(1).stored());
    crash(seed);
    ASSERT_TRUE(store_->verify(0, 0b0001));
    ASSERT_EQ(get(0, 0), static_cast<int>(seed) + 1);
  }
  EXPECT_TRUE(logged_errors().empty());
}

TEST_F(DurableStoreTest, TheNoteSurvivesPowerLossOnceItIsConfirmed) {
  put(0, 0, 1, true);
  store_->commit();
  int syncs = 0;
  disk_.set_hook([&](const SimulatedDisk::Operation& operation) {
    if (operation.kind == Kind::sync && operation.name == "committed") ++syncs;
  });
  store_->confirm();
  store_->confirm();
  EXPECT_EQ(syncs, 1);
  disk_.set_hook({});
  disk_.crash(0);
  disk_.replace(only_file("journal."), {});
  EXPECT_NE(refusal().find("journal"), std::string::npos);
}

TEST_F(DurableStoreTest, PagesOfLargeBlocksAreKeptApart) {
  SimulatedDisk disk;
  constexpr std::uint32_t kLarge = 1U << 20U;
  auto store = std::make_unique<DurableStore>(disk.directory(), kLarge, 4 * kLarge);
  store->recover();
  store->taken(1);
  const WriteReceipt stored = store->write(1, bytes(16384, 3), 63 * 16384, 0);
  store->wrote(1, {2}, stored, true);
  store->commit();
  store->close({});
  store = std::make_unique<DurableStore>(disk.directory(), kLarge, 4 * kLarge);
  const Recovered recovered = store->recover();
  ASSERT_EQ(recovered.blocks.size(), 1U);
  EXPECT_EQ(recovered.blocks[0].pages.dirty, PageMask{1} << 63U);
  EXPECT_TRUE(store->verify(1, PageMask{1} << 63U));
}

TEST_F(DurableStoreTest, StorageBehindTheLastSlotIsGivenBack) {
  put(0, 0, 1, true);
  store_->commit();
  put(1, 0, 9, true);
  restart();
  EXPECT_EQ(disk_.content("data")[kBlock], std::byte{0});
}

}  // namespace
}  // namespace nbdstack::testing
