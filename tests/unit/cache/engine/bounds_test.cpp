// The size is a bound, and nothing dirty is dropped to keep it.
#include "tests/unit/cache/engine/cache_fixture.hpp"
#include "tests/unit/fakes/break_invariant.hpp"

namespace nbdstack::testing {
namespace {

class CacheBounds : public CacheTest {
 protected:
  static constexpr std::uint64_t kMaxBlocks = 20;
  void SetUp() override { settings.max_size_bytes = kMaxBlocks * kBlock; }
};

TEST_F(CacheBounds, WritesOfManyTimesTheSizeAreAllThereAfterwards) {
  const auto data = pattern(kDiskSize, 5);
  for (std::uint64_t i = 0; i < kDiskSize / kBlock; ++i) {
    const auto offset = static_cast<std::ptrdiff_t>(i * kBlock);
    write({data.begin() + offset, data.begin() + offset + kBlock}, i * kBlock);
    ASSERT_LE(cache().cached_bytes(), kMaxBlocks * kBlock);
  }
  EXPECT_EQ(read({0, kDiskSize}), data);
  layer().flush();
  EXPECT_EQ(below.content(), data);
}

TEST_F(CacheBounds, OneWriteLargerThanTheCacheFitsThroughIt) {
  const auto data = pattern(kDiskSize, 5);
  write(data, 0);
  EXPECT_LE(cache().cached_bytes(), kMaxBlocks * kBlock);
  layer().flush();
  EXPECT_EQ(below.content(), data);
}

TEST_F(CacheBounds, OneReadLargerThanTheCacheStaysInsideTheBound) {
  settings.cache_on_read = [] { return true; };
  for (int i = 0; i < 3; ++i) {
    read({0, kDiskSize});
    EXPECT_LE(cache().cached_bytes(), kMaxBlocks * kBlock);
  }
}

TEST_F(CacheBounds, TheLeastRecentlyUsedGoFirstDownToTheLowThreshold) {
  settings.cache_on_read = [] { return true; };
  for (std::uint64_t i = 0; i < 19; ++i) read(block(i));  // 95 % of 20
  read(block(0));                                         // used again
  EXPECT_EQ(cache().cached_bytes(), 19U * kBlock);
  read(block(30));  // beyond the high threshold
  EXPECT_EQ(cache().cached_bytes(), 16U * kBlock);
  below.forget_calls();
  read(block(0));
  read(block(30));
  EXPECT_TRUE(below.calls().empty());
  read(block(1));
  EXPECT_EQ(below.calls().size(), 1U);
}

TEST_F(CacheBounds, WhenNothingCanBeWrittenBackWritesGetTheLayersOwnAnswer) {
  fail(Op::pwrite, EIO);
  std::uint64_t accepted = 0;
  while (code_of([&] { write(pattern(kBlock, 7), accepted * kBlock); }) == 0) ++accepted;
  EXPECT_EQ(accepted, kMaxBlocks);  // as much as the cache can hold, and then an error: not a loss
  let_all_pass();
  layer().flush();
  for (std::uint64_t i = 0; i < accepted; ++i) {
    EXPECT_EQ(below.content(block(i)), pattern(kBlock, 7));
  }
}

TEST_F(CacheBounds, WritersWaitForOneWriteBackAndThenGoOn) {
  Gate gate;
  stop_at(gate, Op::pwrite);
  std::vector<std::future<void>> writers;
  for (std::uint64_t i = 0; i < 2 * kMaxBlocks; ++i) {
    writers.push_back(later([this, i] { write(pattern(kBlock, 1), 2 * i * kBlock); }));
  }
  gate.wait_for_arrivals(1);
  EXPECT_LE(cache().cached_bytes(), kMaxBlocks * kBlock);
  gate.open();
  for (auto& writer : writers) writer.get();
  layer().flush();
  for (std::uint64_t i = 0; i < 2 * kMaxBlocks; ++i) {
    EXPECT_EQ(below.content(block(2 * i)), pattern(kBlock, 1));
  }
}

// Both sides of the cache: a client's request, and what a store is told to write.
TEST_F(CacheBounds, ARequestBehindTheEndIsABrokenInvariant) {
  read({kDiskSize - 1, 1});
  EXPECT_BROKEN(read({kDiskSize - 1, 2}), "range.offset, range.length.* = 1048575, 2, 1048576");
  EXPECT_BROKEN(write(pattern(2, 1), kDiskSize - 1), "range.length <= size_bytes");
  EXPECT_BROKEN(layer().zero(kBlock, kDiskSize, {}), "range.length <= size_bytes");
  EXPECT_BROKEN(trim({kDiskSize, kBlock}), "range.length <= size_bytes");
  const std::uint64_t wraps_around = ~std::uint64_t{0} - kBlock + 1;
  EXPECT_BROKEN(trim({wraps_around, 2 * kBlock}), "range.offset <= size_bytes");
  const auto store = make_store();
  EXPECT_BROKEN((void)store->write(0, pattern(2, 1), kBlock - 1, 0),
                "offset_in_block, data.size.. = 0, 4095, 2");
}

}  // namespace
}  // namespace nbdstack::testing
