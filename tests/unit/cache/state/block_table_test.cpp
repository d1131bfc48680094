#include "filters/cache/state/block_table.hpp"

#include <gtest/gtest.h>
#include <malloc.h>

#include "filters/cache/policy/make_policy.hpp"
#include "tests/unit/fakes/break_invariant.hpp"

namespace nbdstack {
namespace {

BlockTable table_of(Slot max_slots) {
  return {max_slots, 16, make_eviction_policy(CachePolicy::lru)};
}

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
  BlockTable table = table_of(100'000);
  for (std::uint64_t block = 0; block < 20'000; ++block) table.insert({block * 977});
  for (std::uint64_t block = 0; block < 20'000; block += 2) table.erase(table.find({block * 977}));
  for (std::uint64_t block = 0; block < 20'000; ++block) {
    const Slot slot = table.find({block * 977});
    ASSERT_EQ(slot == kNoSlot, block % 2 == 0);
    if (slot == kNoSlot) continue;
    ASSERT_EQ(table[slot].block(), (BlockNumber{block * 977}));
  }
  EXPECT_EQ(table.cached_blocks(), 10'000U);
}

TEST(BlockTable, DoesNotGiveAPinnedSlotToAnotherBlock) {
  BlockTable table = table_of(2);
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
  BlockTable table = table_of(1);
  const Slot slot = table.insert({1});
  table.pin(slot);
  table.retire(slot);
  table.unpin(slot);
  EXPECT_FALSE(table.has_room());
}

TEST(BlockTable, CountsAsUnwrittenWhatTheLayerBelowLacks) {
  BlockTable table = table_of(4);
  const Slot slot = table.insert({1});
  EXPECT_EQ(table.unwritten().size(), 0U);
  table.set_pages(slot, {.valid = 3, .dirty = 1, .zero = 0, .hole = 0});
  EXPECT_EQ(table.unwritten().size(), 1U);
  table[slot].writing = true;
  table.set_pages(slot, {.valid = 3, .dirty = 0, .zero = 0, .hole = 0});
  EXPECT_EQ(table.unwritten().size(), 1U);
  table[slot].writing = false;
  table.set_pages(slot, {.valid = 3, .dirty = 0, .zero = 0, .hole = 0});
  EXPECT_EQ(table.unwritten().size(), 0U);
}

TEST(BlockTable, TellsApartUpToSixtyFourPages) {
  BlockTable table(4, 64, make_eviction_policy(CachePolicy::lru));
  const Pages pages{.valid = ~PageMask{0}, .dirty = PageMask{1} << 63U, .zero = 1, .hole = 0};
  const Slot slot = table.insert({1});
  table.set_pages(slot, pages);
  EXPECT_EQ(table.pages(slot), pages);
}

TEST(BlockTable, PutsRecoveredBlocksWhereTheirContentLies) {
  BlockTable table = table_of(8);
  table.insert_at(5, {50});
  table.insert_at(2, {20});
  table.end_recovery(6);
  EXPECT_EQ(table.find({50}), 5U);
  EXPECT_EQ(table.find({20}), 2U);
  std::vector<Slot> taken;
  for (std::uint64_t i = 0; i < 6; ++i) taken.push_back(table.insert({i}));
  EXPECT_EQ(taken, (std::vector<Slot>{0, 1, 3, 4, 6, 7}));
  EXPECT_FALSE(table.has_room());
}

// With 12 bytes for a durable store that is 64 bytes for a cached block of 64 KiB.
TEST(BlockTable, TakesAtMost52BytesForABlockOf64K) {
  constexpr std::size_t kBlocks = 1'000'000;
  const std::size_t before = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
  BlockTable table = table_of(2 * kBlocks);
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    table.set_pages(table.insert({block * 977}), {.valid = 1, .dirty = 1, .zero = 0, .hole = 0});
  }
  const std::size_t after = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
  EXPECT_LE((after - before) / kBlocks, 52U);
  EXPECT_EQ(table.unwritten().size(), kBlocks);
}

TEST(BlockTable, ASlotOfTwoBlocksOrOfNoneIsABrokenInvariant) {
  BlockTable table = table_of(4);
  table.insert_at(1, {10});
  EXPECT_BROKEN(table.insert_at(1, {11}), "!entries_.slot..attached_");
  EXPECT_BROKEN(table.erase(0), "entry.attached_");
  EXPECT_BROKEN(table.unpin(1), "entry.pins != 0");
  EXPECT_BROKEN(table.pin(2), "slot, slots.. = 2, 2");
  for (unsigned pins = 0; pins < 0xffff; ++pins) table.pin(1);
  EXPECT_BROKEN(table.pin(1), "pins != 0xffff");
  table.erase(1);  // the slot is not free before the pin ends
  EXPECT_BROKEN(table.insert_at(1, {11}), "entries_.slot..pins == 0");
#ifndef NDEBUG
  table.insert_at(2, {20});
  EXPECT_BROKEN(table.insert_at(3, {20}), "find.block. == kNoSlot");
#endif
}

}  // namespace
}  // namespace nbdstack
