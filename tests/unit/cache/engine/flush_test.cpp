// Flush: what it waits for, how it goes down, and what it says when it cannot.
#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

class CacheFlush : public CacheTest {};

TEST_F(CacheFlush, WritesNeighboursAsOneRequest) {
  for (int i = 9; i >= 0; --i) write(pattern(kBlock, 1), block(i).offset);
  layer().flush();
  EXPECT_EQ(below.calls(Op::pwrite), (std::vector<Call>{{Op::pwrite, block(0, 10)}}));
}

TEST_F(CacheFlush, NeverCutsABlockThatTheLayerBelowPrefers) {
  below.change_traits().maximum_block_size = 8 * kBlock;
  below.change_traits().preferred_block_size = 8 * kBlock;
  write(pattern(20 * kBlock, 1), block(4).offset);
  layer().flush();
  std::vector<Range> ranges;
  for (const Call& call : below.calls(Op::pwrite)) ranges.push_back(call.range);
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.offset < b.offset; });
  EXPECT_EQ(ranges, (std::vector<Range>{block(4, 4), block(8, 8), block(16, 8)}));
}

TEST_F(CacheFlush, HasManyRequestsUnderWay) {
  below.change_traits().maximum_block_size = kBlock;
  write(pattern(5 * kBlock, 1), 0);
  Gate gate;
  stop_at(gate, Op::pwrite);
  auto flush = later([&] { layer().flush(); });
  gate.wait_for_arrivals(5);  // four threads of the pool and the caller
  gate.open();
  flush.get();
}

TEST_F(CacheFlush, HasScatteredBlocksUnderWayAtOnce) {
  for (int i = 0; i < 5; ++i) write(pattern(kBlock, 1), block(2 * i).offset);
  Gate gate;
  stop_at(gate, Op::pwrite);
  auto flush = later([&] { layer().flush(); });
  gate.wait_for_arrivals(5);
  gate.open();
  flush.get();
}

// Four writes of parts would each cost the layer below a read and a write of the whole.
TEST_F(CacheFlush, CompletesABlockOfTheLayerBelowThatIsDirtyInSeveralPlaces) {
  below.change_traits().preferred_block_size = 8 * kBlock;
  for (int i = 0; i < 4; ++i) write(pattern(kBlock, 1), block(2 * i).offset);
  layer().flush();
  EXPECT_EQ(
      below.calls(),
      (std::vector<Call>{{Op::pread, block(1, 7)}, {Op::pwrite, block(0, 8)}, {Op::flush, {}}}));
}

TEST_F(CacheFlush, WaitsForWhatIsAlreadyOnItsWay) {
  write(pattern(kBlock, 1), 0);
  Gate gate;
  stop_at(gate, Op::pwrite);
  auto first = later([&] { cache().write_back_all(below); });
  gate.wait_for_arrivals(1);
  auto second = later([&] { layer().flush(); });
  EXPECT_TRUE(below.calls(Op::flush).empty());
  gate.open();
  first.get();
  second.get();
  const auto calls = below.calls();
  ASSERT_EQ(calls.size(), 2U);  // one write, and the flush after it
  EXPECT_EQ(calls[1].op, Op::flush);
}

TEST_F(CacheFlush, FailsWhenTheWriteItWaitedForFailsAgain) {
  write(pattern(kBlock, 1), 0);
  fail(Op::pwrite, ENOSPC);
  EXPECT_EQ(code_of([&] { layer().flush(); }), ENOSPC);
  EXPECT_EQ(cache().unwritten_bytes(), kBlock);
  let_all_pass();
  layer().flush();
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
}

TEST_F(CacheFlush, WritesAllOthersWhenOneFails) {
  below.change_traits().maximum_block_size = kBlock;
  write(pattern(8 * kBlock, 1), 0);
  below.on_call([](const Call& call) {
    if (call.op == Op::pwrite && call.range.offset == 3 * kBlock) throw Error(EIO, "no");
  });
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_EQ(cache().unwritten_bytes(), kBlock);
}

TEST_F(CacheFlush, GivesUpAfterSomeFailuresInARow) {
  below.change_traits().maximum_block_size = kBlock;
  write(pattern(100 * kBlock, 1), 0);
  fail(Op::pwrite, EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_LT(below.calls(Op::pwrite).size(), 30U);  // each may have taken a minute to fail
  EXPECT_EQ(cache().unwritten_bytes(), 100U * kBlock);
  let_all_pass();
  layer().flush();
  EXPECT_EQ(below.content(block(0, 100)), pattern(100 * kBlock, 1));
}

TEST_F(CacheFlush, GivesUpSoonerWhereNothingHasSucceededForLong) {
  below.change_traits().maximum_block_size = kBlock;
  settings.give_up_after = {};
  write(pattern(100 * kBlock, 1), 0);
  fail(Op::pwrite, EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_LT(below.calls(Op::pwrite).size(), 10U);  // two, and what other threads had begun
}

TEST_F(CacheFlush, WritesAllOthersHoweverManyFail) {
  below.change_traits().maximum_block_size = kBlock;
  write(pattern(100 * kBlock, 1), 0);
  below.on_call([](const Call& call) {
    if (call.op == Op::pwrite && call.range.offset / kBlock % 2 != 0) throw Error(EIO, "no");
  });
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_EQ(cache().unwritten_bytes(), 50U * kBlock);
}

TEST_F(CacheFlush, FailsWithTheFlushBelow) {
  fail(Op::flush, EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
}

TEST_F(CacheFlush, IsOfferedAndWritesBackOverALayerWithoutFlush) {
  below.change_traits().can_flush = false;
  below.change_traits().fua = Support::none;
  EXPECT_TRUE(layer().traits().can_flush);
  write(pattern(kBlock, 1), 0);
  layer().flush();
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
  EXPECT_TRUE(below.calls(Op::flush).empty());
}

}  // namespace
}  // namespace nbdstack::testing
