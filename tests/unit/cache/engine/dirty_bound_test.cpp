// The bound on what is dirty, and what those who wait for room do meanwhile.
#include <atomic>

#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

class CacheDirtyBound : public CacheTest {
 protected:
  static constexpr std::uint64_t kMostDirty = 4;

  void SetUp() override { settings.max_dirty_bytes = kMostDirty * kBlock; }
  static std::vector<std::byte> data(unsigned seed = 1) { return pattern(kBlock, seed); }
  // Blocks that are no neighbours.
  static std::uint64_t place(std::uint64_t number) { return block(2 * number).offset; }
};

TEST_F(CacheDirtyBound, IsNeverPassedByMoreThanTheRequestsUnderWay) {
  for (std::uint64_t i = 0; i < 100; ++i) {
    write(data(static_cast<unsigned>(i)), place(i));
    ASSERT_LE(cache().unwritten_bytes(), kMostDirty * kBlock);
  }
  layer().flush();
  for (std::uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(below.content({place(i), kBlock}), data(static_cast<unsigned>(i)));
  }
}

TEST_F(CacheDirtyBound, BelowItNothingIsWritten) {
  for (std::uint64_t i = 0; i < kMostDirty; ++i) write(data(), place(i));
  EXPECT_TRUE(below.calls().empty());
}

TEST_F(CacheDirtyBound, WritersWaitForOneWriteBackAndThenGoOn) {
  for (std::uint64_t i = 0; i < kMostDirty; ++i) write(data(), place(i));
  Gate gate;
  stop_at(gate, Op::pwrite);
  std::vector<std::future<void>> writers;
  for (std::uint64_t i = 10; i < 20; ++i) {
    writers.push_back(later([this, i] { write(data(), place(i)); }));
  }
  gate.wait_for_arrivals(kMostDirty);
  EXPECT_EQ(cache().unwritten_bytes(), kMostDirty * kBlock);
  EXPECT_EQ(read({place(10), kBlock}), std::vector<std::byte>(kBlock));  // reads do not wait
  gate.open();
  for (auto& writer : writers) writer.get();
  layer().flush();
  for (std::uint64_t i = 10; i < 20; ++i) EXPECT_EQ(below.content({place(i), kBlock}), data());
}

TEST_F(CacheDirtyBound, AFlushOfSomebodyElseMakesRoomToo) {
  for (std::uint64_t i = 0; i < kMostDirty; ++i) write(data(), place(i));
  Gate gate;
  stop_at(gate, Op::pwrite);
  auto flush = later([this] { layer().flush(); });
  gate.wait_for_arrivals(kMostDirty);
  auto writer = later([this] { write(data(2), place(10)); });
  gate.open();
  flush.get();
  writer.get();
  EXPECT_EQ(below.calls(Op::pwrite).size(), kMostDirty);  // none of them twice
  EXPECT_EQ(read({place(10), kBlock}), data(2));
}

TEST_F(CacheDirtyBound, AWriteFailsWhenNothingCanBeWrittenBack) {
  for (std::uint64_t i = 0; i < kMostDirty; ++i) write(data(), place(i));
  fail(Op::pwrite, ENOSPC);
  EXPECT_EQ(code_of([&] { write(data(), place(10)); }), ENOSPC);
  EXPECT_EQ(cache().unwritten_bytes(), kMostDirty * kBlock);
  EXPECT_EQ(read({place(10), kBlock}), std::vector<std::byte>(kBlock));
  let_all_pass();
  write(data(3), place(10));
  layer().flush();
  for (std::uint64_t i = 0; i < kMostDirty; ++i) {
    EXPECT_EQ(below.content({place(i), kBlock}), data());
  }
  EXPECT_EQ(below.content({place(10), kBlock}), data(3));
}

TEST_F(CacheDirtyBound, OneBlockThatFailsDoesNotStopWriters) {
  for (std::uint64_t i = 0; i < kMostDirty; ++i) write(data(), place(i));
  below.on_call([](const Call& call) {
    if (call.op == Op::pwrite && call.range.offset == place(0)) throw Error(EIO, "no");
  });
  for (std::uint64_t i = 10; i < 20; ++i) write(data(), place(i));
  EXPECT_LE(cache().unwritten_bytes(), kMostDirty * kBlock);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  let_all_pass();
  layer().flush();
  EXPECT_EQ(below.content({place(0), kBlock}), data());
}

TEST_F(CacheDirtyBound, ABoundOfLessThanABlockLeavesRoomForOne) {
  settings.max_dirty_bytes = 1;
  for (std::uint64_t i = 0; i < 5; ++i) {
    write(data(), place(i));
    EXPECT_LE(cache().unwritten_bytes(), kBlock);
  }
  EXPECT_EQ(below.calls(Op::pwrite).size(), 4U);
}

TEST_F(CacheDirtyBound, RememberedZerosDoNotCount) {
  for (std::uint64_t i = 0; i < 50; ++i) layer().zero(kBlock, place(i), {});
  EXPECT_TRUE(below.calls().empty());
}

// --- Waiting for what is under way below is waiting, not asking again and again ---

class CacheWaiting : public CacheTest {
 protected:
  void SetUp() override {
    settings.max_size_bytes = 16 * kBlock;
    below.change_traits().preferred_block_size = 8 * kBlock;
    store_hook.set([this](StoreOp op) { rounds += op == StoreOp::commit ? 1U : 0U; });
  }
  // A zero of block 0, stopped below; blocks 1 to 7 share its preferred block.
  std::future<void> stop_zero_below() {
    layer().zero(kBlock, 0, {});
    stop_at(gate, Op::zero);
    auto zeroing = later([this] { layer().flush(); });
    gate.wait_for_arrivals(1);
    return zeroing;
  }
  // Time for others, whether they wait or not.
  void do_something_else() {
    for (int i = 0; i < 2000; ++i) read(block(100));
  }

  Gate gate;
  std::atomic<unsigned> rounds = 0;  // each begins with a commit
};

TEST_F(CacheWaiting, OfFuaForTheSamePreferredBlock) {
  auto zeroing = stop_zero_below();
  auto writer = later([this] { write(pattern(kBlock, 1), block(5).offset, Durability::fua); });
  do_something_else();
  gate.open();
  zeroing.get();
  writer.get();
  EXPECT_EQ(below.content(block(5)), pattern(kBlock, 1));
  EXPECT_LT(rounds, 20U);
}

TEST_F(CacheWaiting, OfAWriterThatNeedsRoom) {
  settings.max_size_bytes = 4 * kBlock;
  auto zeroing = stop_zero_below();
  for (int i = 1; i <= 4; ++i) write(pattern(kBlock, 1), block(i).offset);
  auto writer = later([this] { write(pattern(kBlock, 1), block(5).offset); });
  do_something_else();
  gate.open();
  zeroing.get();
  writer.get();
  layer().flush();
  EXPECT_EQ(below.content(block(5)), pattern(kBlock, 1));
  EXPECT_LT(rounds, 20U);
}

TEST_F(CacheWaiting, OfAWriterAboveTheBoundOnDirtyBlocks) {
  settings.max_dirty_bytes = 2 * kBlock;
  auto zeroing = stop_zero_below();
  for (int i = 1; i <= 2; ++i) write(pattern(kBlock, 1), block(i).offset);
  auto writer = later([this] { write(pattern(kBlock, 1), block(5).offset); });
  do_something_else();
  gate.open();
  zeroing.get();
  writer.get();
  layer().flush();
  EXPECT_EQ(below.content(block(5)), pattern(kBlock, 1));
  EXPECT_LT(rounds, 20U);
}

}  // namespace
}  // namespace nbdstack::testing
