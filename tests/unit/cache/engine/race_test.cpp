// Two operations on one block, in the order that does harm. The first is stopped below at a gate;
// the second runs into it; then the first goes on. Each test states what must be read and what must
// be below in the end.
#include <thread>

#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

class CacheRace : public CacheTest {
 protected:
  void SetUp() override {
    settings.cache_on_read = [] { return true; };
    below.fill({0, kDiskSize}, std::byte{1});
  }
  static std::vector<std::byte> all(int value, std::size_t length = kBlock) {
    return std::vector<std::byte>(length, static_cast<std::byte>(value));
  }
  // What every reader sees, now and after all caching is gone.
  void expect_block(int value) {
    EXPECT_EQ(read(block(0)), all(value));
    layer().flush();
    EXPECT_EQ(below.content(block(0)), all(value));
  }
  // A fetch of block 0 that has read the old content and is about to deliver it.
  std::future<std::vector<std::byte>> stop_fill_with_old_data() {
    below.on_read_result([this](std::span<std::byte>, std::uint64_t) { gate.pass(); });
    auto fill = read_later(block(0));
    gate.wait_for_arrivals(1);
    below.on_read_result({});
    return fill;
  }
  // A write-back of block 0, which holds 2, stopped before it takes effect below.
  std::future<void> stop_write_back() {
    write(all(2), 0);
    stop_at(gate, Op::pwrite);
    auto write_back = later([this] { layer().flush(); });
    gate.wait_for_arrivals(1);
    let_all_pass();
    return write_back;
  }

  Gate gate;
};

TEST_F(CacheRace, AFillDoesNotOverwriteANewerWrite) {
  auto fill = stop_fill_with_old_data();
  write(all(3), 0);
  gate.open();
  EXPECT_EQ(fill.get(), all(1));  // it was sent before the write was acknowledged
  expect_block(3);
}

TEST_F(CacheRace, APartialWriteWaitsForTheFillAndJoinsIt) {
  auto fill = stop_fill_with_old_data();
  auto writer = later([this] { write(all(3, 100), 0); });
  while (cache().waiting_for_fetches() == 0) std::this_thread::yield();
  gate.open();
  fill.get();
  writer.get();
  auto expected = all(1);
  std::fill_n(expected.begin(), 100, std::byte{3});
  EXPECT_EQ(read(block(0)), expected);
  EXPECT_EQ(below.calls(Op::pread).size(), 1U);
}

TEST_F(CacheRace, AFillDoesNotOverwriteAZero) {
  auto fill = stop_fill_with_old_data();
  layer().zero(kBlock, 0, {});
  gate.open();
  fill.get();
  expect_block(0);
}

TEST_F(CacheRace, AFillDoesNotBringBackWhatWasTrimmed) {
  auto fill = stop_fill_with_old_data();
  layer().trim(kBlock, 0, Durability::on_flush);
  gate.open();
  fill.get();
  expect_block(0);  // the fake layer zeroes what is trimmed
}

TEST_F(CacheRace, AReaderThatComesAfterAWriteDoesNotJoinAnOlderFill) {
  settings.mode = CacheMode::writethrough;
  auto fill = stop_fill_with_old_data();
  write(all(3, 100), 0);
  auto expected = all(1);
  std::fill_n(expected.begin(), 100, std::byte{3});
  EXPECT_EQ(read(block(0)), expected);  // would wait for the gate, and be wrong, if it joined
  gate.open();
  fill.get();
  EXPECT_EQ(read(block(0)), expected);
}

TEST_F(CacheRace, AFillDuringAWriteThroughIsNotKept) {
  settings.mode = CacheMode::writethrough;
  stop_at(gate, Op::pwrite);
  auto writer = later([this] { write(all(3, 100), 0); });
  gate.wait_for_arrivals(1);
  EXPECT_EQ(read(block(0)), all(1));  // old or new would be right
  gate.open();
  writer.get();
  auto expected = all(1);
  std::fill_n(expected.begin(), 100, std::byte{3});
  EXPECT_EQ(read(block(0)), expected);
}

TEST_F(CacheRace, AFillDuringATrimIsNotKept) {
  let_trims_go_around();
  stop_at(gate, Op::trim);
  auto trimming = later([this] { trim(block(0)); });
  gate.wait_for_arrivals(1);
  read(block(0));
  gate.open();
  trimming.get();
  expect_block(0);
}

TEST_F(CacheRace, AWriteDuringWriteBackIsWrittenBackAgain) {
  auto write_back = stop_write_back();
  write(all(3), 0);  // does not wait for the write-back
  EXPECT_EQ(read(block(0)), all(3));
  gate.open();
  write_back.get();
  EXPECT_EQ(cache().unwritten_bytes(), kBlock);
  expect_block(3);
}

TEST_F(CacheRace, AFlushAfterAWriteDuringWriteBackCoversIt) {
  auto write_back = stop_write_back();
  write(all(3), 0);
  auto second = later([this] { layer().flush(); });
  gate.open();
  write_back.get();
  second.get();
  EXPECT_EQ(below.content(block(0)), all(3));
}

TEST_F(CacheRace, AWriteDuringAFailingWriteBackIsNotLost) {
  write(all(2), 0);
  below.on_call([this](const Call& call) {
    if (call.op != Op::pwrite) return;
    gate.pass();
    throw Error(EIO, "no");
  });
  auto write_back = later([this] { layer().flush(); });
  gate.wait_for_arrivals(1);
  write(all(3), 0);
  gate.open();
  EXPECT_EQ(code_of([&] { write_back.get(); }), EIO);
  let_all_pass();
  expect_block(3);
}

TEST_F(CacheRace, AZeroDuringWriteBackDoesNotWaitAndFollowsItBelow) {
  auto write_back = stop_write_back();
  layer().zero(kBlock, 0, {});
  EXPECT_TRUE(below.calls(Op::zero).empty());
  EXPECT_EQ(read(block(0)), all(0));
  gate.open();
  write_back.get();
  expect_block(0);
}

TEST_F(CacheRace, ATrimDuringWriteBackWaitsForItsTurnBelow) {
  let_trims_go_around();
  auto write_back = stop_write_back();
  auto trimming = later([this] { trim(block(0)); });
  EXPECT_TRUE(below.calls(Op::trim).empty());
  gate.open();
  write_back.get();
  trimming.get();
  expect_block(0);
}

TEST_F(CacheRace, AFlushDuringATrimWaitsForItAndWritesNothingOld) {
  let_trims_go_around();
  write(all(2), 0);
  stop_at(gate, Op::trim);
  auto trimming = later([this] { trim(block(0)); });
  gate.wait_for_arrivals(1);
  auto flush = later([this] { layer().flush(); });
  gate.open();
  trimming.get();
  flush.get();
  EXPECT_TRUE(below.calls(Op::pwrite).empty());
  expect_block(0);
}

TEST_F(CacheRace, AFlushDuringAFailingTrimStillWritesWhatWasDirty) {
  let_trims_go_around();
  write(all(2), 0);
  below.on_call([this](const Call& call) {
    if (call.op != Op::trim) return;
    gate.pass();
    throw Error(EIO, "no");
  });
  auto trimming = later([this] { trim(block(0)); });
  gate.wait_for_arrivals(1);
  auto flush = later([this] { layer().flush(); });
  gate.open();
  EXPECT_EQ(code_of([&] { trimming.get(); }), EIO);
  flush.get();
  EXPECT_EQ(below.content(block(0)), all(2));
}

TEST_F(CacheRace, AWriteDuringATrimOfTheSameBytesComesAfterIt) {
  let_trims_go_around();
  stop_at(gate, Op::trim);
  auto trimming = later([this] { trim(block(0)); });
  gate.wait_for_arrivals(1);
  auto writer = later([this] { write(all(3), 0); });
  gate.open();
  trimming.get();
  writer.get();
  expect_block(3);
}

TEST_F(CacheRace, ABlockBeingWrittenBackIsNotEvicted) {
  settings.max_size_bytes = 4 * kBlock;
  auto write_back = stop_write_back();
  read(block(10, 8));
  EXPECT_EQ(read(block(0)), all(2));
  gate.open();
  write_back.get();
  expect_block(2);
}

TEST_F(CacheRace, ABlockBeingTrimmedBelowIsNeitherEvictedNorWrittenBack) {
  let_trims_go_around();
  settings.max_size_bytes = 4 * kBlock;
  write(all(2), 0);
  stop_at(gate, Op::trim);
  auto trimming = later([this] { trim(block(0)); });
  gate.wait_for_arrivals(1);
  for (std::uint64_t i = 10; i < 20; ++i) write(all(5), block(i).offset);
  EXPECT_EQ(read(block(0)), all(2));
  gate.open();
  trimming.get();
  expect_block(0);
}

TEST_F(CacheRace, AnEvictedBlockIsFetchedAgainWithWhatWasWritten) {
  settings.max_size_bytes = 4 * kBlock;
  write(all(2), 0);
  for (std::uint64_t i = 10; i < 20; ++i) write(all(5), block(i).offset);
  below.forget_calls();
  EXPECT_EQ(read(block(0)), all(2));
  EXPECT_EQ(below.calls(Op::pread).size(), 1U);
}

TEST_F(CacheRace, AFillThatOutlivesWriteWriteBackAndEvictionIsNotKept) {
  settings.max_size_bytes = 4 * kBlock;
  auto fill = stop_fill_with_old_data();
  write(all(3), 0);
  for (std::uint64_t i = 10; i < 20; ++i) write(all(5), block(i).offset);  // evicts block 0
  EXPECT_EQ(below.content(block(0)), all(3));
  gate.open();
  fill.get();
  expect_block(3);
}

TEST_F(CacheRace, AHoleBelowIsDataWhileItsBlockIsBeingWrittenBack) {
  ExtentList hole;
  hole.append({0, kDiskSize}, kHole);
  below.set_extents(hole);
  auto write_back = stop_write_back();
  ExtentList found;
  layer().extents(kBlock, 0, false, found);
  EXPECT_EQ(found.all(), (std::vector<Extent>{{block(0), kData}}));
  gate.open();
  write_back.get();
}

}  // namespace
}  // namespace nbdstack::testing
