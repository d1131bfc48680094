#include "filters/cache/policy/slot_queue.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace nbdstack {
namespace {

std::vector<Slot> all_of(const SlotQueue& queue) {
  std::vector<Slot> slots;
  queue.visit_from_oldest([&](Slot slot) {
    slots.push_back(slot);
    return true;
  });
  return slots;
}

TEST(SlotQueue, KeepsTheOrderOfArrivalThroughRemovalsAnywhere) {
  SlotTable table;
  table.make_room_for(5);
  SlotQueue queue(table);
  EXPECT_EQ(queue.oldest(), kNoSlot);
  for (Slot slot = 0; slot < 6; ++slot) queue.push(slot);
  queue.remove(3);  // in the middle
  queue.remove(0);  // the oldest
  queue.remove(5);  // the newest
  EXPECT_EQ(all_of(queue), (std::vector<Slot>{1, 2, 4}));
  queue.renew(1);
  queue.renew(1);
  EXPECT_EQ(all_of(queue), (std::vector<Slot>{2, 4, 1}));
  EXPECT_EQ(queue.size(), 3U);
  for (const Slot slot : {2, 4, 1}) queue.remove(slot);
  EXPECT_EQ(queue.oldest(), kNoSlot);
  EXPECT_EQ(queue.size(), 0U);
}

TEST(SlotQueue, SharesTheTableWithOtherQueues) {
  SlotTable table;
  table.make_room_for(3);
  SlotQueue one(table);
  SlotQueue other(table);
  for (const Slot slot : {0, 2}) one.push(slot);
  for (const Slot slot : {1, 3}) other.push(slot);
  one.remove(0);
  other.push(0);
  EXPECT_EQ(all_of(one), (std::vector<Slot>{2}));
  EXPECT_EQ(all_of(other), (std::vector<Slot>{1, 3, 0}));
}

TEST(SlotQueue, SearchesTheOldestOnly) {
  SlotTable table;
  table.make_room_for(9);
  SlotQueue queue(table);
  for (Slot slot = 0; slot < 10; ++slot) queue.push(slot);
  const auto is_three = [](Slot slot) { return slot == 3; };
  EXPECT_EQ(queue.oldest_that(is_three, 4), 3U);
  EXPECT_EQ(queue.oldest_that(is_three, 3), kNoSlot);
  queue.remove(3);
  EXPECT_EQ(queue.oldest_that(is_three, 100), kNoSlot);
}

TEST(SlotQueue, SaysWhetherAVisitWentToTheEnd) {
  SlotTable table;
  table.make_room_for(1);
  SlotQueue queue(table);
  for (const Slot slot : {0, 1}) queue.push(slot);
  EXPECT_TRUE(queue.visit_from_oldest([](Slot) { return true; }));
  EXPECT_FALSE(queue.visit_from_oldest([](Slot slot) { return slot != 1; }));
}

TEST(SlotTable, KeepsMarksWhileItGrows) {
  SlotTable table;
  table.make_room_for(0);
  table.set_mark(0, 7);
  table.make_room_for(100'000);
  table.make_room_for(3);
  EXPECT_EQ(table.mark(0), 7);
  EXPECT_EQ(table.mark(100'000), 0);
}

}  // namespace
}  // namespace nbdstack
