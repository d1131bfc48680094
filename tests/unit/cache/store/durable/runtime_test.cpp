// The engine and its durable store: what a client does between a commit and what follows it.
#include <future>

#include "tests/unit/cache/store/durable/runtime_fixture.hpp"

namespace nbdstack::testing {
namespace {

// The page was dirty when the flush came. What is flushed has to be below, or something newer.
TEST_F(RuntimeTest, AFlushSendsAPageThatIsChangedBetweenItsCommitAndItsTurn) {
  for (const int changes : {1, 2, 3}) {
    end();
    disk = SimulatedDisk();
    below.fill({0, kDisk}, std::byte{0});
    hooks.after_commit = [] {};
    start();
    write(5, 100);
    int value = 100;
    hooks.after_commit = [&] {
      if (value - 100 < changes) write(5, ++value);
    };
    layer->flush();
    EXPECT_GE(read_below(5), 100) << changes;
    EXPECT_EQ(read(5), 100 + changes);
  }
}

TEST_F(RuntimeTest, AFlushDoesNotWaitForPagesThatWereNotDirtyWhenItCame) {
  start();
  write(5, 1);
  int commits = 0;
  hooks.after_commit = [&] {
    ++commits;
    write(static_cast<std::uint64_t>(5 + commits), 7);
  };
  layer->flush();
  EXPECT_EQ(commits, 2);
  EXPECT_EQ(read_below(5), 1);
}

// A block of a range of zeros is written, goes below, is clean in what is committed, and is zeros
// again when the range's turn comes. After a crash it must not be clean while zeros are below.
TEST_F(RuntimeTest, ZerosGoBelowOnlyWhenACommitKnowsThem) {
  start();
  zero(2, 2);
  std::optional<SimulatedDisk> crashed;
  int commits = 0;
  hooks.after_commit = [&] {
    if (++commits != 2) return;
    write(8, 9);
    layer->flush();
    layer->flush();
    zero(2, 1);
    below.on_call([&](const Call& call) {
      if (call.op == Op::zero && !crashed) crashed = disk.copy();
    });
  };
  layer->flush();
  below.on_call({});
  ASSERT_TRUE(crashed.has_value());
  hooks.after_commit = [] {};
  end();
  disk = std::move(*crashed);
  disk.crash(kNothingSurvives);
  below.fill({2 * kBlock, kBlock}, std::byte{0});
  start();
  EXPECT_EQ(read(8), 0);
}

// What was written last lies in the second file, and would be punched there.
TEST_F(RuntimeTest, AReaderKeepsTheStorageOfABlockThatLeavesTheCache) {
  start();
  write(0, 1);
  layer->flush();
  write(0, 2);
  layer->flush();
  cache->close();
  end();
  settings.mode = CacheMode::writethrough;
  start();
  EXPECT_EQ(read(0), 2);
  Gate gate;
  hooks.before_read = [&] { gate.pass(); };
  auto reader = std::async(std::launch::async, [&] { return read(0); });
  gate.wait_for_arrivals(1);
  below.fill({0, kPage}, std::byte{2});
  write(1, 3);
  gate.open();
  EXPECT_EQ(reader.get(), 2);
}

// The first of two pages was overwritten before the second one failed. It was clean, and must not
// count as a copy of what is below any more.
TEST_F(RuntimeTest, AWriteThatFailsInTheMiddleLeavesNothingCleanBehind) {
  start();
  write(0, 1);
  write(1, 7);
  layer->flush();
  write(0, 2);
  layer->flush();
  layer->flush();
  write(2, 5);
  disk.set_hook([](const SimulatedDisk::Operation& operation) {
    const bool is_write = operation.kind == SimulatedDisk::Kind::write;
    if (is_write && operation.name == "data") throw Error(EIO, "as the test wants it");
  });
  EXPECT_THROW(layer->pwrite(bytes(std::uint64_t{2} * kPage, 9), 0, Durability::on_flush), Error);
  disk.set_hook({});
  EXPECT_EQ(disk.content("data2")[0], std::byte{9});
  EXPECT_EQ(read(0), 2);
  EXPECT_EQ(read(1), 7);
  EXPECT_EQ(read(2), 5);
}

// A fetch of the block has read the page before it went below. The page leaves the cache while the
// fetch is under way, which must not put back what it has read.
TEST_F(RuntimeTest, AFetchDoesNotBringBackAPageThatAFailedWriteHasMadeTheCacheForget) {
  settings.cache_on_read = [] { return true; };
  start();
  write(0, 1);
  Gate gate;
  below.on_read_result([&](std::span<std::byte>, std::uint64_t) { gate.pass(); });
  auto reader = std::async(std::launch::async, [&] { return read(3); });
  gate.wait_for_arrivals(1);
  below.on_read_result({});
  layer->flush();
  layer->flush();
  write(1, 5);
  fail_writes([](std::size_t /*number*/) { return true; });
  EXPECT_THROW(write(0, 9), Error);
  disk.set_hook({});
  gate.open();
  EXPECT_EQ(reader.get(), 0);
  EXPECT_EQ(read(0), 1);
  EXPECT_EQ(read(1), 5);
}

// The bytes of a write that has failed do not go below later on, as what lies between two pages
// that are written back.
TEST_F(RuntimeTest, AWriteBackDoesNotCarryWhatAFailedWriteHasLeft) {
  start();
  write(1, 1);
  write(2, 7);
  layer->flush();
  write(1, 2);
  layer->flush();
  layer->flush();
  write(0, 5);
  write(3, 5);
  Gate forgetting;
  hooks.before_forget = [&] { forgetting.pass(); };
  fail_writes([](std::size_t number) { return number == 2; });
  auto writer = std::async(std::launch::async, [&] {
    layer->pwrite(bytes(std::uint64_t{2} * kPage, 9), kPage, Durability::on_flush);
  });
  forgetting.wait_for_arrivals(1);
  EXPECT_EQ(disk.content("data2")[kPage], std::byte{9});
  Gate writing;
  below.on_call([&](const Call& call) {
    if (call.op == Op::pwrite) writing.pass();
  });
  auto flush = std::async(std::launch::async, [&] { layer->flush(); });
  writing.wait_for_arrivals(1);
  forgetting.open();
  EXPECT_THROW(writer.get(), Error);
  EXPECT_EQ(read(1), 2);
  writing.open();
  flush.get();
  EXPECT_EQ(read(1), 2);
  EXPECT_EQ(read(2), 7);
  EXPECT_EQ(read_below(0), 5);
  EXPECT_EQ(read_below(3), 5);
}

// Two pages of zeros are written around the cache; one of them can be stored afterwards. What the
// store has noted of it is what is read, now and after a crash.
TEST_F(RuntimeTest, AWriteAroundTheCacheThatFailsInTheMiddleKeepsTableAndIndexInStep) {
  settings.flush = FlushTo::local;
  start();
  for (const std::uint64_t page : {0, 2}) layer->zero(kPage, page * kPage, {.may_trim = false});
  fail_writes([](std::size_t number) { return number != 2; });
  EXPECT_THROW(layer->pwrite(bytes(std::uint64_t{3} * kPage, 9), 0, Durability::on_flush), Error);
  disk.set_hook({});
  EXPECT_EQ(read(0), 9);
  EXPECT_EQ(read(2), 0);
  write(0, 4);
  layer->flush();
  end();
  disk.crash(kNothingSurvives);
  start();
  EXPECT_EQ(read(0), 4);
  EXPECT_EQ(read(2), 0);
}

}  // namespace
}  // namespace nbdstack::testing
