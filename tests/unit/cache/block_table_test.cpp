#include "filters/cache/block_table.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

TEST(SlotList, KeepsTheOrderOfUseThroughRemovalsAnywhere) {
  SlotList list;
  for (Slot slot = 0; slot < 5; ++slot) list.push_front(slot);
  list.remove(2);         // in the middle
  list.remove(0);         // the oldest
  list.move_to_front(1);  // the oldest of the rest
  list.remove(4);
  std::vector<Slot> order;
  for (Slot slot = list.back(); slot != kNoSlot; slot = list.newer(slot)) order.push_back(slot);
  EXPECT_EQ(order, (std::vector<Slot>{3, 1}));
  EXPECT_FALSE(list.contains(2));
  EXPECT_EQ(list.size(), 2U);
}

TEST(BlockTable, FindsWhatWasInsertedThroughManyInsertionsAndErasures) {
  BlockTable table(100'000);
  for (std::uint64_t block = 0; block < 20'000; ++block) table.insert({block * 977});
  for (std::uint64_t block = 0; block < 20'000; block += 2) table.erase(table.find({block * 977}));
  for (std::uint64_t block = 0; block < 20'000; ++block) {
    const Slot slot = table.find({block * 977});
    ASSERT_EQ(slot == kNoSlot, block % 2 == 0);
    if (slot == kNoSlot) continue;
    ASSERT_EQ(table[slot].block, (BlockNumber{block * 977}));
  }
  EXPECT_EQ(table.cached_blocks(), 10'000U);
}

TEST(BlockTable, DoesNotGiveAPinnedSlotToAnotherBlock) {
  BlockTable table(2);
  const Slot used = table.insert({1});
  table.pin(used);
  table.erase(used);
  EXPECT_EQ(table.find({1}), kNoSlot);
  const Slot other = table.insert({2});
  EXPECT_NE(other, used);
  EXPECT_FALSE(table.has_room());
  table.unpin(used);
  EXPECT_TRUE(table.has_room());
  EXPECT_EQ(table.insert({3}), used);
}

TEST(BlockTable, DoesNotUseARetiredSlotAgain) {
  BlockTable table(1);
  const Slot slot = table.insert({1});
  table.pin(slot);
  table.retire(slot);
  table.unpin(slot);
  EXPECT_FALSE(table.has_room());
}

TEST(BlockTable, CountsAsUnwrittenWhatTheLayerBelowLacks) {
  BlockTable table(4);
  const Slot slot = table.insert({1});
  EXPECT_EQ(table.unwritten().size(), 0U);
  table.set_state(slot, BlockState::dirty);
  table.set_state(slot, BlockState::writing);
  table.set_state(slot, BlockState::rewritten);
  EXPECT_EQ(table.unwritten().size(), 1U);
  table.set_state(slot, BlockState::clean);
  EXPECT_EQ(table.unwritten().size(), 0U);
}

TEST(BlockTable, TakesFewBytesForABlock) {
  EXPECT_LE(sizeof(BlockTable::Entry), 24U);
}

}  // namespace
}  // namespace nbdstack
