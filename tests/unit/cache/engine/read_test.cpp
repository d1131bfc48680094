// Reading: what is fetched, how often, and in how many requests.
#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

class CacheRead : public CacheTest {
 protected:
  void SetUp() override {
    const auto content = pattern(kDiskSize, 1);
    below.pwrite(content, 0, Durability::on_flush);
    below.forget_calls();
  }
  void store_reads() {
    settings.cache_on_read = [] { return true; };
  }
};

TEST_F(CacheRead, LoadsWholeBlocksAndServesThemAgainFromTheCache) {
  store_reads();
  EXPECT_EQ(read({5000, 10}), below.content({5000, 10}));
  EXPECT_EQ(below.calls(Op::pread), (std::vector<Call>{{Op::pread, block(1)}}));
  EXPECT_EQ(read(block(1)), below.content(block(1)));
  EXPECT_EQ(below.calls(Op::pread).size(), 1U);
}

TEST_F(CacheRead, DoesNotStoreUnlessAskedTo) {
  read(block(1));
  read(block(1));
  EXPECT_EQ(below.calls(Op::pread).size(), 2U);
  EXPECT_EQ(cache().cached_bytes(), 0U);
}

TEST_F(CacheRead, FetchesNeighbouringMissingBlocksInOneRequest) {
  EXPECT_EQ(read({100, kDiskSize - 200}), below.content({100, kDiskSize - 200}));
  EXPECT_EQ(below.calls(Op::pread), (std::vector<Call>{{Op::pread, {0, kDiskSize}}}));
}

TEST_F(CacheRead, FetchesOnlyWhatIsMissingBetweenCachedBlocks) {
  store_reads();
  read(block(3));
  read(block(5, 2));
  below.forget_calls();
  EXPECT_EQ(read(block(2, 6)), below.content(block(2, 6)));
  auto calls = below.calls(Op::pread);
  std::sort(calls.begin(), calls.end(),
            [](const Call& a, const Call& b) { return a.range.offset < b.range.offset; });
  EXPECT_EQ(calls, (std::vector<Call>{
                       {Op::pread, block(2)}, {Op::pread, block(4)}, {Op::pread, block(7)}}));
}

TEST_F(CacheRead, LoadsTheMissingNeighboursOfAGroupInOneRequest) {
  store_reads();
  settings.fetch_bytes = 8 * kBlock;
  read(block(10, 1));  // loads the group of blocks 8 to 15
  EXPECT_EQ(below.calls(Op::pread), (std::vector<Call>{{Op::pread, block(8, 8)}}));
  EXPECT_EQ(read(block(8, 8)), below.content(block(8, 8)));
  EXPECT_EQ(below.calls(Op::pread).size(), 1U);
}

TEST_F(CacheRead, AGroupEndsAtWhatIsCachedBeingFetchedOrRememberedAsZeros) {
  store_reads();
  settings.fetch_bytes = 16 * kBlock;
  write(pattern(kBlock, 9), block(3).offset);
  layer().zero(kBlock, block(9).offset, {});
  below.forget_calls();
  EXPECT_EQ(read(block(5)), below.content(block(5)));
  EXPECT_EQ(below.calls(Op::pread), (std::vector<Call>{{Op::pread, block(4, 5)}}));
  EXPECT_EQ(read(block(3)), pattern(kBlock, 9));
  EXPECT_EQ(read(block(9)), std::vector<std::byte>(kBlock));
  Gate gate;
  stop_at(gate, Op::pread);
  auto first = read_later(block(33));  // the group of 32 to 47
  gate.wait_for_arrivals(1);
  auto second = read_later(block(40, 20));  // of which it takes 40 to 47
  gate.wait_for_arrivals(2);
  gate.open();
  first.get();
  EXPECT_EQ(second.get(), below.content(block(40, 20)));
  EXPECT_EQ(below.calls(Op::pread).back().range, block(48, 16));
}

TEST_F(CacheRead, ANeighbourThatCannotBeReadIsNoError) {
  store_reads();
  settings.fetch_bytes = 8 * kBlock;
  below.on_call([](const Call& call) {
    if (call.op == Op::pread && call.range.overlaps(block(12))) throw Error(EIO, "bad sector");
  });
  EXPECT_EQ(read(block(10)), below.content(block(10)));
  EXPECT_EQ(below.calls(Op::pread),
            (std::vector<Call>{{Op::pread, block(8, 8)}, {Op::pread, block(10)}}));
  EXPECT_THROW(read(block(12)), Error);
}

TEST_F(CacheRead, AGroupIsNotLoadedWhereReadsAreNotStored) {
  settings.fetch_bytes = 8 * kBlock;
  read(block(10));
  EXPECT_EQ(below.calls(Op::pread), (std::vector<Call>{{Op::pread, block(10)}}));
}

TEST_F(CacheRead, TheLastGroupEndsWithTheDisk) {
  store_reads();
  settings.fetch_bytes = 8 * kBlock;
  const Range last{kDiskSize - 10, 10};
  EXPECT_EQ(read(last), below.content(last));
  EXPECT_EQ(below.calls(Op::pread),
            (std::vector<Call>{{Op::pread, {kDiskSize - 8 * kBlock, 8 * kBlock}}}));
}

TEST_F(CacheRead, FetchesABlockOnceHoweverManyWaitForIt) {
  store_reads();
  Gate gate;
  stop_at(gate, Op::pread);
  auto first = read_later(block(7));
  gate.wait_for_arrivals(1);
  std::vector<std::future<std::vector<std::byte>>> others;
  for (int i = 0; i < 3; ++i) others.push_back(read_later(block(7)));
  // One that needs another block as well asks below for that block alone.
  auto more = read_later(block(7, 2));
  gate.wait_for_arrivals(2);
  gate.open();
  EXPECT_EQ(first.get(), below.content(block(7)));
  EXPECT_EQ(more.get(), below.content(block(7, 2)));
  for (auto& other : others) EXPECT_EQ(other.get(), below.content(block(7)));
  EXPECT_EQ(below.calls(Op::pread),
            (std::vector<Call>{{Op::pread, block(7)}, {Op::pread, block(8)}}));
}

TEST_F(CacheRead, AWaiterTakesTheDataEvenWhereNothingIsStored) {
  Gate gate;
  stop_at(gate, Op::pread);
  auto first = read_later(block(7));
  gate.wait_for_arrivals(1);
  // Its own request for block 8 arrives below, so it has joined the fetch of block 7 by then.
  auto second = read_later(block(7, 2));
  gate.wait_for_arrivals(2);
  gate.open();
  EXPECT_EQ(first.get(), below.content(block(7)));
  EXPECT_EQ(second.get(), below.content(block(7, 2)));
  EXPECT_EQ(below.calls(Op::pread).size(), 2U);
}

TEST_F(CacheRead, ServesAHitWhileAnotherBlockIsBeingFetched) {
  store_reads();
  read(block(0));
  Gate gate;
  stop_at(gate, Op::pread);
  auto miss = read_later(block(9));
  gate.wait_for_arrivals(1);
  EXPECT_EQ(read(block(0)), below.content(block(0)));  // would never return if it waited
  gate.open();
  miss.get();
}

TEST_F(CacheRead, HasManyMissesUnderWayAtOnce) {
  Gate gate;
  stop_at(gate, Op::pread);
  std::vector<std::future<std::vector<std::byte>>> reads;
  for (int i = 0; i < 8; ++i) reads.push_back(read_later(block(2 * i)));
  gate.wait_for_arrivals(8);  // all of them are below before one has been answered
  gate.open();
  for (auto& each : reads) each.get();
}

TEST_F(CacheRead, ReportsAFailedFetchToEveryReaderAndForgetsIt) {
  store_reads();
  fail(Op::pread, ETIMEDOUT);
  EXPECT_EQ(code_of([&] { read(block(1, 2)); }), ETIMEDOUT);
  let_all_pass();
  EXPECT_EQ(read(block(1, 2)), below.content(block(1, 2)));
}

TEST_F(CacheRead, ServesTheShortLastBlockOfADisk) {
  store_reads();
  below.change_traits().size_bytes = kDiskSize - 1000;
  const Range last{kDiskSize - kBlock, kBlock - 1000};
  EXPECT_EQ(read(last), below.content(last));
  EXPECT_EQ(read(last), below.content(last));
  EXPECT_EQ(below.calls(Op::pread), (std::vector<Call>{{Op::pread, last}}));
}

TEST_F(CacheRead, PrefetchLoadsForLaterInOneRequest) {
  layer().cache(5 * kBlock, 3 * kBlock + 10);
  EXPECT_EQ(below.calls(Op::pread), (std::vector<Call>{{Op::pread, block(3, 6)}}));
  EXPECT_EQ(read(block(3, 6)), below.content(block(3, 6)));
  EXPECT_EQ(below.calls(Op::pread).size(), 1U);
}

TEST_F(CacheRead, AFailedPrefetchIsForgotten) {
  fail(Op::pread, EIO);
  EXPECT_EQ(code_of([&] { layer().cache(kBlock, 0); }), 0);
  let_all_pass();
  EXPECT_EQ(read(block(0)), below.content(block(0)));
}

TEST_F(CacheRead, CallsBelowOneByOneWhereTheLayerIsNotParallel) {
  store_reads();
  below.change_traits().parallel = false;
  for (int i = 1; i < 20; i += 2) read(block(i));
  std::atomic<int> under_way = 0;
  below.on_call([&](const Call&) {
    EXPECT_EQ(++under_way, 1);
    std::this_thread::yield();
    --under_way;
  });
  read(block(0, 20));
}

}  // namespace
}  // namespace nbdstack::testing
