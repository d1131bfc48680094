// Zeros and trims: remembered without storage and without a request, and never data below.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>

#include "tests/unit/cache/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kPage = 4096;

// A disk of any size: pages that were written are in memory, all others are zeros. It records how
// it is asked for zeros.
class SparseLayer final : public Layer {
 public:
  struct Zero {
    Range range;
    bool may_trim = false;
    Durability durability = Durability::on_flush;

    friend bool operator==(const Zero&, const Zero&) = default;
  };

  explicit SparseLayer(std::uint64_t size_bytes) {
    traits_.size_bytes = size_bytes;
    traits_.can_write = traits_.can_flush = traits_.can_trim = true;
    traits_.can_extents = traits_.can_multi_conn = true;
    traits_.zero = traits_.fua = Support::native;
  }

  LayerTraits& change_traits() { return traits_; }
  [[nodiscard]] const LayerTraits& traits() const override { return traits_; }

  // Called before a zero or a write takes effect, without a lock. Set before the layer is used.
  std::function<void(Op, const Range&)> on_change = [](Op, const Range&) {};

  std::vector<Zero> zeros() const {
    const std::lock_guard lock(mutex_);
    return zeros_;
  }
  std::vector<Range> reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }
  std::vector<Range> writes() const {
    const std::lock_guard lock(mutex_);
    return writes_;
  }
  [[nodiscard]] bool untouched() const {
    const std::lock_guard lock(mutex_);
    return zeros_.empty() && reads_.empty() && writes_.empty();
  }
  void forget_calls() {
    const std::lock_guard lock(mutex_);
    zeros_.clear();
    reads_.clear();
    writes_.clear();
  }
  std::vector<std::byte> content(const Range& range) const {
    std::vector<std::byte> bytes(range.length);
    const std::lock_guard lock(mutex_);
    copy_out(bytes, range.offset);
    return bytes;
  }

  void pread(std::span<std::byte> buffer, std::uint64_t offset) override {
    const std::lock_guard lock(mutex_);
    reads_.push_back({offset, buffer.size()});
    copy_out(buffer, offset);
  }
  void pwrite(std::span<const std::byte> buffer, std::uint64_t offset, Durability) override {
    on_change(Op::pwrite, {offset, buffer.size()});
    const std::lock_guard lock(mutex_);
    writes_.push_back({offset, buffer.size()});
    for_each_page(
        offset, buffer.size(),
        [&](std::uint64_t number, std::size_t in_page, std::size_t at, std::size_t length) {
          auto& page = pages_[number];
          page.resize(kPage);
          std::memcpy(page.data() + in_page, buffer.data() + at, length);
        });
  }
  void flush() override {}
  void zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) override {
    on_change(Op::zero, {offset, length});
    const std::lock_guard lock(mutex_);
    zeros_.push_back({{offset, length}, options.may_trim, options.durability});
    const Range range{offset, length};
    for (auto& [number, page] : pages_) {
      const Range part = range.intersection({number * kPage, kPage});
      std::fill_n(page.begin() + static_cast<std::ptrdiff_t>(part.offset % kPage), part.length,
                  std::byte{0});
    }
  }
  void trim(std::uint64_t length, std::uint64_t offset, Durability durability) override {
    zero(length, offset, {.may_trim = true, .durability = durability});
  }
  void cache(std::uint64_t, std::uint64_t) override {}
  void extents(std::uint64_t length, std::uint64_t offset, bool, ExtentList& extents) override {
    extents.append({offset, length}, kData);
  }

 private:
  // Calls fn(number of the page, offset in it, offset in the request, length).
  template <typename Fn>
  static void for_each_page(std::uint64_t offset, std::size_t length, Fn&& fn) {
    for (std::size_t done = 0; done < length;) {
      const std::size_t in_page = (offset + done) % kPage;
      const std::size_t part = std::min<std::size_t>(kPage - in_page, length - done);
      fn((offset + done) / kPage, in_page, done, part);
      done += part;
    }
  }
  void copy_out(std::span<std::byte> buffer, std::uint64_t offset) const {
    for_each_page(
        offset, buffer.size(),
        [&](std::uint64_t number, std::size_t in_page, std::size_t at, std::size_t length) {
          const auto found = pages_.find(number);
          if (found == pages_.end()) {
            std::memset(buffer.data() + at, 0, length);
          } else {
            std::memcpy(buffer.data() + at, found->second.data() + in_page, length);
          }
        });
  }

  LayerTraits traits_;
  mutable std::mutex mutex_;  // protects everything below
  std::map<std::uint64_t, std::vector<std::byte>> pages_;
  std::vector<Zero> zeros_;
  std::vector<Range> reads_;
  std::vector<Range> writes_;
};

// Blocks of 16 pages.
class CacheZero : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kBlock = 16 * kPage;
  using Zeros = std::vector<SparseLayer::Zero>;

  static Range block(std::uint64_t number, std::uint64_t count = 1) {
    return {number * kBlock, count * kBlock};
  }
  static Range page(std::uint64_t number, std::uint64_t count = 1) {
    return {number * kPage, count * kPage};
  }

  // Settings and the layer's traits may be changed before.
  CacheLayer& layer() {
    if (layer_ == nullptr) {
      cache_ = std::make_shared<BlockCache>(
          settings, below->traits().size_bytes,
          std::make_unique<HookedStore>(
              std::make_unique<TemporaryStore>("/tmp", settings.block_size), store_hook, false),
          reads_, writes_);
      layer_ = std::make_unique<CacheLayer>(*below, cache_, settings);
    }
    return *layer_;
  }
  BlockCache& cache() {
    layer();
    return *cache_;
  }
  // Data below, of which the cache has not heard.
  void fill_below(const Range& range) {
    below->pwrite(pattern(range.length, 99), range.offset, Durability::on_flush);
    below->forget_calls();
  }
  void zero(const Range& range, const ZeroOptions& options = {}) {
    layer().zero(range.length, range.offset, options);
  }
  void trim(const Range& range) { layer().trim(range.length, range.offset, Durability::on_flush); }
  void write(const Range& range, unsigned seed, Durability durability = Durability::on_flush) {
    layer().pwrite(pattern(range.length, seed), range.offset, durability);
  }
  std::vector<std::byte> read(const Range& range) {
    std::vector<std::byte> buffer(range.length);
    layer().pread(buffer, range.offset);
    return buffer;
  }
  static std::vector<std::byte> zeros(const Range& range) {
    return std::vector<std::byte>(range.length);
  }
  template <typename Body>
  static int code_of(Body body) {
    try {
      body();
      return 0;
    } catch (const Error& error) {
      return error.code();
    }
  }
  template <typename Body>
  std::future<void> later(Body body) {
    layer();
    return std::async(std::launch::async, body);
  }
  void count_stored() {
    store_hook.set([this](StoreOp op) { stored += op == StoreOp::write ? 1U : 0U; });
  }
  void fail_changes(int code) {
    below->on_change = [code](Op, const Range&) { throw Error(code, "as the test wants it"); };
  }
  void let_all_pass() {
    below->on_change = [](Op, const Range&) {};
  }

  CacheSettings settings{.block_size = static_cast<std::uint32_t>(kBlock)};
  std::unique_ptr<SparseLayer> below = std::make_unique<SparseLayer>(std::uint64_t{1} << 30U);
  HookedStore::Hook store_hook;
  std::atomic<unsigned> stored = 0;

 private:
  WorkerPool reads_{2};
  WorkerPool writes_{2};
  std::shared_ptr<BlockCache> cache_;
  std::unique_ptr<CacheLayer> layer_;
};

TEST_F(CacheZero, WholeBlocksCostNeitherStorageNorARequest) {
  fill_below(block(0, 6));
  count_stored();
  zero(block(1, 4));
  EXPECT_EQ(read(block(1, 4)), zeros(block(1, 4)));
  EXPECT_TRUE(below->untouched());
  EXPECT_EQ(stored, 0U);
  EXPECT_EQ(cache().cached_bytes(), 0U);
  EXPECT_EQ(cache().unwritten_bytes(), 4 * kBlock);
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{block(1, 4)}}));
  EXPECT_TRUE(below->writes().empty());
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
  EXPECT_EQ(read(block(1, 4)), zeros(block(1, 4)));
}

TEST_F(CacheZero, PagesOfAnUncachedBlockCostNeither) {
  fill_below(block(0));
  count_stored();
  zero(page(3, 5));
  EXPECT_EQ(read(page(3, 5)), zeros(page(3, 5)));
  EXPECT_TRUE(below->untouched());
  EXPECT_EQ(stored, 0U);
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{page(3, 5)}}));
  EXPECT_TRUE(below->writes().empty());
  EXPECT_TRUE(below->reads().empty());
}

TEST_F(CacheZero, CachedBlocksLeaveTheCache) {
  write(block(1, 2), 1);
  zero(block(1, 2));
  EXPECT_EQ(cache().cached_bytes(), 0U);
  EXPECT_EQ(read(block(1, 2)), zeros(block(1, 2)));
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{block(1, 2)}}));
  EXPECT_TRUE(below->writes().empty());
}

TEST_F(CacheZero, PagesOfACachedBlockAreZeroedAndTheRestIsWritten) {
  write(page(0, 8), 1);
  zero(page(4, 8));
  EXPECT_EQ(read(page(4, 8)), zeros(page(4, 8)));
  layer().flush();
  EXPECT_EQ(below->writes(), std::vector<Range>{page(0, 4)});
  EXPECT_EQ(below->zeros(), (Zeros{{page(4, 8)}}));
}

TEST_F(CacheZero, CleanPagesAreZeroedBelowToo) {
  write(block(0), 1);
  layer().flush();
  zero(page(4, 2));
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{page(4, 2)}}));
  EXPECT_EQ(below->content(page(4, 2)), zeros(page(4, 2)));
  EXPECT_EQ(read(page(4, 2)), zeros(page(4, 2)));
}

TEST_F(CacheZero, OnlyTheEndsThatCoverPagesInPartAreData) {
  fill_below(block(0, 4));
  const Range range{100, 3 * kBlock};
  const auto before = below->content(block(0, 4));
  zero(range);
  auto expected = before;
  std::fill_n(expected.begin() + 100, range.length, std::byte{0});
  EXPECT_EQ(read(block(0, 4)), expected);
  layer().flush();
  EXPECT_EQ(below->content(block(0, 4)), expected);
  const auto sent = below->zeros();
  EXPECT_TRUE(std::ranges::find(sent, SparseLayer::Zero{block(1, 2)}) != sent.end());
  for (const Range& each : below->writes()) EXPECT_FALSE(each.overlaps(block(1, 2)));
}

TEST_F(CacheZero, AZeroInsideAPageIsData) {
  fill_below(block(0));
  auto expected = below->content(page(0));
  zero({10, 20});
  std::fill_n(expected.begin() + 10, 20, std::byte{0});
  EXPECT_EQ(read(page(0)), expected);
  layer().flush();
  EXPECT_EQ(below->content(page(0)), expected);
  EXPECT_TRUE(below->zeros().empty());
}

TEST_F(CacheZero, TrimmedRangesGoBelowAsHoles) {
  trim(block(1, 2));
  trim(page(3, 2));
  zero(page(5, 2), {.may_trim = true});
  zero(block(5), {.may_trim = true});
  EXPECT_TRUE(below->untouched());
  layer().flush();
  auto sent = below->zeros();
  std::ranges::sort(sent, {}, [](const auto& each) { return each.range.offset; });
  EXPECT_EQ(sent, (Zeros{{page(3, 4), true}, {block(1, 2), true}, {block(5), true}}));
}

TEST_F(CacheZero, AZeroThatMayNotTrimReplacesAHole) {
  trim(block(1, 3));
  zero(block(2));
  trim(page(0, 4));
  zero(page(1, 2));
  layer().flush();
  auto sent = below->zeros();
  std::ranges::sort(sent, {}, [](const auto& each) { return each.range.offset; });
  const auto at = [&](std::uint64_t offset) {
    return std::ranges::find_if(sent, [&](const auto& each) {
      return each.range.contains({offset, 1});
    });
  };
  ASSERT_NE(at(block(2).offset), sent.end());
  EXPECT_FALSE(at(block(2).offset)->may_trim);
  EXPECT_TRUE(at(block(1).offset)->may_trim);
  EXPECT_TRUE(at(block(3).offset)->may_trim);
  EXPECT_TRUE(below->writes().empty());
}

TEST_F(CacheZero, PartsOfPagesAreLeftAloneByATrim) {
  write(page(0, 3), 1);
  trim({100, 2 * kPage});
  auto expected = pattern(3 * kPage, 1);
  std::fill_n(expected.begin() + kPage, kPage, std::byte{0});
  EXPECT_EQ(read(page(0, 3)), expected);
}

TEST_F(CacheZero, AFastZeroIsTakenWhereItIsRememberedAndRefusedWhereItWouldBeAWrite) {
  EXPECT_TRUE(layer().traits().can_fast_zero);
  write(page(0, 2), 1);
  EXPECT_EQ(code_of([&] { zero({10, 100}, {.fast = true}); }), ENOTSUP);
  EXPECT_EQ(read(page(0, 2)), pattern(2 * kPage, 1));
  zero(page(1), {.fast = true});
  zero(block(3), {.fast = true});
  EXPECT_EQ(read(page(1)), zeros(page(1)));
  EXPECT_TRUE(below->untouched());
}

TEST_F(CacheZero, WritethroughPassesZerosOn) {
  settings.mode = CacheMode::writethrough;
  write(page(0, 4), 1);
  zero(page(1, 2), {.may_trim = true, .durability = Durability::fua});
  EXPECT_EQ(below->zeros(), (Zeros{{page(1, 2), true, Durability::fua}}));
  EXPECT_EQ(read(page(1, 2)), zeros(page(1, 2)));
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
}

TEST_F(CacheZero, FuaIsBelowWhenItReturns) {
  zero(block(1), {.durability = Durability::fua});
  EXPECT_EQ(below->zeros(), (Zeros{{block(1), false, Durability::fua}}));
  zero(page(3), {.durability = Durability::fua});
  EXPECT_EQ(below->zeros().back(), (SparseLayer::Zero{page(3), false, Durability::fua}));
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
}

TEST_F(CacheZero, AWriteIntoRememberedZerosReadsNothing) {
  fill_below(block(0, 3));
  zero(block(0, 3));
  write({page(20).offset + 10, 100}, 7);
  auto expected = zeros(block(0, 3));
  const auto data = pattern(100, 7);
  std::copy(data.begin(), data.end(), expected.begin() + 20 * kPage + 10);
  EXPECT_EQ(read(block(0, 3)), expected);
  EXPECT_TRUE(below->untouched());
  layer().flush();
  EXPECT_TRUE(below->reads().empty());
  EXPECT_EQ(below->content(block(0, 3)), expected);
  EXPECT_EQ(read(block(0, 3)), expected);
}

TEST_F(CacheZero, AWrittenBlockBecomesZerosAgain) {
  zero(block(0, 3));
  write(block(1), 7);
  zero(block(1));
  EXPECT_EQ(read(block(0, 3)), zeros(block(0, 3)));
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{block(0, 3)}}));
  EXPECT_TRUE(below->writes().empty());
}

TEST_F(CacheZero, FollowsABlockThatIsOnItsWayBelow) {
  Gate gate;
  write(block(0), 1);
  below->on_change = [&](Op op, const Range&) {
    if (op == Op::pwrite) gate.pass();
  };
  auto write_back = later([this] { cache().write_back_all(*below); });
  gate.wait_for_arrivals(1);
  zero(page(3, 2));  // none of these waits
  EXPECT_EQ(read(page(3, 2)), zeros(page(3, 2)));
  zero(block(0));
  EXPECT_EQ(read(block(0)), zeros(block(0)));
  EXPECT_TRUE(below->zeros().empty());
  gate.open();
  write_back.get();
  layer().flush();
  EXPECT_EQ(below->content(block(0)), zeros(block(0)));
  EXPECT_EQ(read(block(0)), zeros(block(0)));
}

TEST_F(CacheZero, AWriteDuringItsWayBelowFollowsIt) {
  Gate gate;
  zero(block(0, 3));
  below->on_change = [&](Op op, const Range& range) {
    if (op == Op::zero && range.overlaps(block(1))) gate.pass();
  };
  auto write_back = later([this] { cache().write_back_all(*below); });
  gate.wait_for_arrivals(1);
  write(page(17), 7);
  auto fua = later([this] { write(page(40), 8, Durability::fua); });
  EXPECT_TRUE(below->writes().empty());
  gate.open();
  write_back.get();
  fua.get();
  EXPECT_EQ(below->content(page(40)), pattern(kPage, 8));
  layer().flush();
  EXPECT_EQ(below->content(page(17)), pattern(kPage, 7));
  EXPECT_EQ(read(page(17)), pattern(kPage, 7));
  EXPECT_EQ(read(page(18)), zeros(page(18)));
}

// A range comes apart where it is written while it waits to go below. What has been written since,
// and has gone below already, must not be zeroed with the rest of it.
TEST_F(CacheZero, WhatWasWrittenWhileAZeroWaitedForItsTurnIsNotZeroed) {
  below->change_traits().parallel = false;  // one range after the other
  Gate first;
  Gate second;
  zero(block(0));
  zero(block(10, 10));
  below->on_change = [&](Op op, const Range& range) {
    if (op != Op::zero) return;
    if (range.overlaps(block(0))) first.pass();
    if (range.overlaps(block(10))) second.pass();
  };
  auto write_back = later([this] { cache().write_back_all(*below); });
  first.wait_for_arrivals(1);
  write(block(15), 1);  // the second range is two now
  first.open();
  second.wait_for_arrivals(1);
  write(block(17), 2, Durability::fua);  // in the later one of them
  second.open();
  write_back.get();
  layer().flush();
  EXPECT_EQ(below->content(block(17)), pattern(kBlock, 2));
  EXPECT_EQ(below->content(block(15)), pattern(kBlock, 1));
  EXPECT_EQ(below->content(block(18, 2)), zeros(block(18, 2)));
}

TEST_F(CacheZero, AFailingOneStaysRememberedAndIsTriedAgain) {
  fill_below(block(0, 3));
  zero(block(0, 2));
  zero(page(33, 3));
  fail_changes(EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_EQ(read(block(0, 2)), zeros(block(0, 2)));
  EXPECT_EQ(read(page(33, 3)), zeros(page(33, 3)));
  EXPECT_EQ(cache().unwritten_bytes(), 3 * kBlock);
  let_all_pass();
  layer().flush();
  EXPECT_EQ(below->content(block(0, 2)), zeros(block(0, 2)));
  EXPECT_EQ(below->content(page(33, 3)), zeros(page(33, 3)));
  EXPECT_TRUE(below->writes().empty());
}

TEST_F(CacheZero, AreExtentsBeforeTheyAreBelow) {
  zero(block(1));
  trim(block(2));
  zero(page(48, 2));
  trim(page(50));
  write(page(51), 1);
  ExtentList found;
  layer().extents(5 * kBlock, 0, false, found);
  const ExtentType kZero{.hole = false, .zero = true};
  EXPECT_EQ(found.all(),
            (std::vector<Extent>{{block(0), kData},
                                 {block(1), kZero},
                                 {block(2), kHole},
                                 {page(48, 2), kZero},
                                 {page(50), kHole},
                                 {{page(51).offset, 5 * kBlock - 51 * kPage}, kData}}));
}

TEST_F(CacheZero, AreWrittenOverALayerThatCannotZero) {
  below->change_traits().zero = Support::none;
  fill_below(block(0, 2));
  zero(block(1, 70));
  zero(page(3, 2));
  EXPECT_EQ(layer().traits().zero, Support::native);
  EXPECT_TRUE(below->untouched());
  layer().flush();
  EXPECT_TRUE(below->zeros().empty());
  EXPECT_EQ(below->content(block(1, 70)), zeros(block(1, 70)));
  EXPECT_EQ(below->content(page(3, 2)), zeros(page(3, 2)));
  for (const Range& range : below->writes()) EXPECT_LE(range.length, 4U << 20U);
}

TEST_F(CacheZero, MoreRangesThanMemoryIsMeantForGoBelow) {
  constexpr std::uint64_t kMostRanges = 16384;
  settings.block_size = kPage;
  for (std::uint64_t i = 0; i < kMostRanges; ++i) zero(page(2 * i));
  EXPECT_TRUE(below->untouched());
  EXPECT_EQ(cache().unwritten_bytes(), kMostRanges * kPage);
  zero(page(2 * kMostRanges));
  EXPECT_LE(cache().unwritten_bytes(), kMostRanges * kPage);
  EXPECT_EQ(read(page(0, 5)), zeros(page(0, 5)));
  EXPECT_TRUE(below->writes().empty());
  layer().flush();
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
}

TEST_F(CacheZero, TheLargestDiskIsZeroedAndWrittenAtItsEnd) {
  constexpr std::uint64_t kSize = (std::uint64_t{1} << 63U) - 1;
  below = std::make_unique<SparseLayer>(kSize);
  const Range end{kSize - (std::uint64_t{8} << 30U), std::uint64_t{8} << 30U};
  fill_below({kSize - 100, 100});
  zero(end, {.may_trim = true});
  EXPECT_EQ(read({kSize - 100, 100}), zeros({0, 100}));
  write({kSize - 10, 10}, 3);
  auto expected = zeros({0, 100});
  const auto data = pattern(10, 3);
  std::copy(data.begin(), data.end(), expected.begin() + 90);
  EXPECT_EQ(read({kSize - 100, 100}), expected);
  ExtentList found;
  layer().extents(std::uint64_t{1} << 30U, kSize - (std::uint64_t{1} << 30U), false, found);
  EXPECT_EQ(found.all().front().type, kHole);
  EXPECT_EQ(found.all().back().type, kData);
  layer().flush();
  EXPECT_EQ(below->content({kSize - 100, 100}), expected);
  std::uint64_t zeroed = 0;
  for (const auto& each : below->zeros()) {
    EXPECT_LE(each.range.length, std::uint64_t{1} << 30U);
    zeroed += each.range.length;
  }
  EXPECT_GE(zeroed, end.length - 2 * kBlock);
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
}

}  // namespace
}  // namespace nbdstack::testing
