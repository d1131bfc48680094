// Blocks of several pages: what is read from below and sent there when only parts are known.
#include <random>

#include "tests/unit/cache/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint32_t kPage = 4096;

class CachePages : public CacheTest {
 protected:
  static constexpr std::uint32_t kLargeBlock = 16 * kPage;

  void SetUp() override {
    settings.block_size = kLargeBlock;
    settings.cache_on_read = [] { return true; };
    below.pwrite(expected, 0, Durability::on_flush);
    below.forget_calls();
  }
  static Range page(std::uint64_t number, std::uint64_t count = 1) { return block(number, count); }

  // Writes new data, and remembers it.
  void change(const Range& range, Durability durability = Durability::on_flush) {
    const auto data = pattern(range.length, ++seed_);
    std::copy(data.begin(), data.end(),
              expected.begin() + static_cast<std::ptrdiff_t>(range.offset));
    write(data, range.offset, durability);
  }
  std::vector<std::byte> expected_in(const Range& range) const {
    const auto first = expected.begin() + static_cast<std::ptrdiff_t>(range.offset);
    return {first, first + static_cast<std::ptrdiff_t>(range.length)};
  }
  std::vector<Range> ranges(Op op) const {
    std::vector<Range> result;
    for (const Call& call : below.calls(op)) result.push_back(call.range);
    return result;
  }
  using Ranges = std::vector<Range>;

  std::vector<std::byte> expected = pattern(kDiskSize, 1000);

 private:
  unsigned seed_ = 0;
};

TEST_F(CachePages, WholePagesAreWrittenWithoutReading) {
  change(page(3));
  change(page(20, 10));
  EXPECT_TRUE(below.calls().empty());
  layer().flush();
  EXPECT_EQ(below.content(), expected);
}

TEST_F(CachePages, AWriteInsideAPageReadsThatPage) {
  change({page(3).offset + 50, 100});
  EXPECT_EQ(ranges(Op::pread), Ranges{page(3)});
  EXPECT_EQ(read(page(3)), expected_in(page(3)));
  EXPECT_EQ(ranges(Op::pread), Ranges{page(3)});
}

TEST_F(CachePages, UnalignedEndsOfAWriteReadOnlyWhatTheyLack) {
  change({page(2).offset + 100, 3 * kPage + 200});
  EXPECT_EQ(ranges(Op::pread),
            (Ranges{{page(2).offset, 100}, {page(5).offset + 300, kPage - 300}}));
  EXPECT_EQ(read(page(2, 4)), expected_in(page(2, 4)));
}

TEST_F(CachePages, WhatAWriteLacksIsReadAsTheLayerBelowCanReadIt) {
  below.change_traits().minimum_block_size = 512;
  change({page(2).offset + 100, 3 * kPage + 200});
  EXPECT_EQ(ranges(Op::pread), (Ranges{{page(2).offset, 512}, {page(5).offset, kPage}}));
  EXPECT_EQ(read(page(2, 4)), expected_in(page(2, 4)));
}

TEST_F(CachePages, OneUnalignedEndIsReadWhereTheOtherPageIsKnown) {
  change(page(2));
  change({page(2).offset + 100, kPage});
  EXPECT_EQ(ranges(Op::pread), Ranges({{page(3).offset + 100, kPage - 100}}));
  EXPECT_EQ(read(page(2, 2)), expected_in(page(2, 2)));
}

TEST_F(CachePages, AWriteOverBlocksReadsItsTwoEnds) {
  change({page(10).offset + 1, 40 * kPage});
  EXPECT_EQ(ranges(Op::pread), (Ranges{{page(10).offset, 1}, {page(50).offset + 1, kPage - 1}}));
  layer().flush();
  EXPECT_EQ(below.content(), expected);
}

TEST_F(CachePages, AFailedReadOfWhatAWriteLacksChangesNothing) {
  fail(Op::pread, EIO);
  EXPECT_EQ(code_of([&] { write(pattern(100, 1), 50); }), EIO);
  let_all_pass();
  EXPECT_EQ(cache().cached_bytes(), 0U);
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
  EXPECT_EQ(read(page(0)), expected_in(page(0)));
}

TEST_F(CachePages, AReadLoadsTheWholeBlockAndJoinsWhatIsDirty) {
  change(page(3));
  change({page(7).offset + 10, 10});
  below.forget_calls();
  EXPECT_EQ(read({page(2).offset + 5, 7 * kPage}), expected_in({page(2).offset + 5, 7 * kPage}));
  EXPECT_EQ(ranges(Op::pread), Ranges{page(0, 16)});
  EXPECT_EQ(read(page(0, 16)), expected_in(page(0, 16)));
  EXPECT_EQ(ranges(Op::pread), Ranges{page(0, 16)});
  layer().flush();
  EXPECT_EQ(below.content(), expected);
}

TEST_F(CachePages, KnownPagesAreReadWithoutTheRestOfTheBlock) {
  change(page(3, 4));
  EXPECT_EQ(read({page(3).offset + 7, 2 * kPage}), expected_in({page(3).offset + 7, 2 * kPage}));
  EXPECT_TRUE(below.calls().empty());
}

TEST_F(CachePages, NeighbouringBlocksAreReadAtOnceWhateverIsKnownOfThem) {
  change(page(3));
  change(page(40));
  EXPECT_EQ(read(page(0, 48)), expected_in(page(0, 48)));
  EXPECT_EQ(ranges(Op::pread), Ranges{page(0, 48)});
}

TEST_F(CachePages, ABlockThatIsPartlyKnownAndCleanIsCompletedByARead) {
  change(page(3));
  layer().flush();
  below.forget_calls();
  EXPECT_EQ(read(page(0, 16)), expected_in(page(0, 16)));
  EXPECT_EQ(read(page(0, 16)), expected_in(page(0, 16)));
  EXPECT_EQ(ranges(Op::pread), Ranges{page(0, 16)});
}

TEST_F(CachePages, FuaSendsThePagesAndNothingElse) {
  change(page(3), Durability::fua);
  EXPECT_EQ(below.calls(), (std::vector<Call>{{Op::pwrite, page(3), Durability::fua}}));
}

TEST_F(CachePages, FuaOfAPageWithTheRestOfItsBlockDirtyIsDurable) {
  change(page(5));
  change(page(3), Durability::fua);
  EXPECT_EQ(below.content(page(3)), expected_in(page(3)));
  for (const Call& call : below.calls(Op::pwrite)) EXPECT_EQ(call.durability, Durability::fua);
  layer().flush();
  EXPECT_EQ(below.content(), expected);
}

TEST_F(CachePages, RewritingDuringWriteBackSendsOnlyWhatChanged) {
  change(page(0, 16));
  Gate gate;
  stop_at(gate, Op::pwrite);
  auto write_back = later([this] { cache().write_back_all(below); });
  gate.wait_for_arrivals(1);
  let_all_pass();
  change(page(3));
  change({page(7).offset + 10, 10});
  gate.open();
  write_back.get();
  EXPECT_TRUE(below.calls(Op::pread).empty());
  layer().flush();
  // Clean pages between them save a request.
  EXPECT_EQ(ranges(Op::pwrite), (Ranges{page(0, 16), page(3, 5)}));
  EXPECT_EQ(below.content(), expected);
}

TEST_F(CachePages, AFailedWriteBackLeavesItsPagesDirtyAndNoOthers) {
  change(page(3));
  layer().flush();
  change(page(9));
  fail(Op::pwrite, EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  let_all_pass();
  below.forget_calls();
  layer().flush();
  EXPECT_EQ(ranges(Op::pwrite), Ranges{page(9)});
  EXPECT_EQ(below.content(), expected);
}

TEST_F(CachePages, AFailedReadOfWhatAWriteBackLacksLeavesItsPagesDirty) {
  for (const int number : {0, 3, 6}) change(page(number));
  fail(Op::pread, EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_TRUE(below.calls(Op::pwrite).empty());
  let_all_pass();
  layer().flush();
  EXPECT_EQ(below.content(), expected);
}

TEST_F(CachePages, OneOfSeveralRequestsOfABlockFails) {
  change(page(0));
  change(page(5));
  below.on_call([](const Call& call) {
    if (call.op == Op::pwrite && call.range.offset == page(5).offset) throw Error(EIO, "no");
  });
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  let_all_pass();
  below.forget_calls();
  layer().flush();
  EXPECT_EQ(ranges(Op::pwrite), Ranges{page(5)});
  EXPECT_EQ(below.content(), expected);
}

TEST_F(CachePages, DirtyPagesAreDataOverAHole) {
  ExtentList hole;
  hole.append({0, kDiskSize}, kHole);
  below.set_extents(hole);
  change(page(3));
  ExtentList found;
  layer().extents(kLargeBlock, 0, false, found);
  EXPECT_EQ(found.all(),
            (std::vector<Extent>{{page(0, 3), kHole}, {page(3), kData}, {page(4, 12), kHole}}));
}

// The disk of the cache is full: what does not fit beside dirty pages of the block goes below.
TEST_F(CachePages, AWriteThatCannotBeStoredBesideDirtyPagesPassesThrough) {
  change(page(3));
  store_hook.set([](StoreOp op) {
    if (op == StoreOp::write) throw Error(ENOSPC, "as the test wants it");
  });
  change(page(9));
  EXPECT_EQ(read(page(9)), expected_in(page(9)));
  EXPECT_EQ(below.content(page(9)), expected_in(page(9)));
  store_hook.set({});
  EXPECT_EQ(read(page(0, 16)), expected_in(page(0, 16)));
  layer().flush();
  EXPECT_EQ(below.content(), expected);
}

TEST_F(CachePages, AWriteThatCannotReplaceDirtyPagesFailsAndIsNotTakenForWritten) {
  change(page(3));
  store_hook.set([](StoreOp op) {
    if (op == StoreOp::write) throw Error(ENOSPC, "as the test wants it");
  });
  EXPECT_NE(code_of([&] { write(pattern(kPage, 77), page(3).offset); }), 0);
  store_hook.set({});
  EXPECT_EQ(read(page(3)), expected_in(page(3)));
  layer().flush();
  EXPECT_EQ(below.content(), expected);
}

// --- The fewest requests, by what the layer below prefers ---

struct Preferred {
  std::uint32_t size_bytes;
  std::size_t reads;
  std::size_t writes;
};

class CachePagesPreferred : public CachePages, public ::testing::WithParamInterface<Preferred> {
 protected:
  void expect_requests() {
    below.change_traits().preferred_block_size = GetParam().size_bytes;
    layer().flush();
    EXPECT_EQ(below.calls(Op::pread).size(), GetParam().reads);
    EXPECT_EQ(below.calls(Op::pwrite).size(), GetParam().writes);
    EXPECT_EQ(below.content(), expected);
    EXPECT_EQ(read({0, kDiskSize}), expected);
  }
};

using TwoPlacesOfABlock = CachePagesPreferred;
TEST_P(TwoPlacesOfABlock, AreSentWithTheFewestRequests) {
  change(page(2, 2));
  change(page(9));
  expect_requests();
}
INSTANTIATE_TEST_SUITE_P(Preferred, TwoPlacesOfABlock,
                         ::testing::Values(Preferred{1, 0, 2}, Preferred{kPage, 0, 2},
                                           Preferred{16 * kPage, 1, 1},
                                           Preferred{256 * kPage, 1, 1}));

using ThreePlacesOfABlock = CachePagesPreferred;
TEST_P(ThreePlacesOfABlock, AreSentWithTheFewestRequests) {
  change(page(2));
  change(page(9));
  change(page(12));
  expect_requests();
}
INSTANTIATE_TEST_SUITE_P(Preferred, ThreePlacesOfABlock,
                         ::testing::Values(Preferred{1, 1, 1}, Preferred{kPage, 1, 1},
                                           Preferred{16 * kPage, 1, 1},
                                           Preferred{256 * kPage, 1, 1}));

using PartsOfFourBlocks = CachePagesPreferred;
TEST_P(PartsOfFourBlocks, AreSentWithTheFewestRequests) {
  for (const int number : {0, 20, 40, 60}) change(page(number, 2));
  expect_requests();
}
INSTANTIATE_TEST_SUITE_P(Preferred, PartsOfFourBlocks,
                         ::testing::Values(Preferred{1, 0, 4}, Preferred{kPage, 0, 4},
                                           Preferred{16 * kPage, 0, 4},
                                           Preferred{256 * kPage, 1, 1}));

// --- Against a model ---

struct Shape {
  std::uint32_t block_size;
  std::uint32_t preferred_block_size;
};

std::string name_of(const ::testing::TestParamInfo<Shape>& info) {
  return fmt::format("{}KiBOver{}KiB", info.param.block_size / 1024,
                     info.param.preferred_block_size / 1024);
}

// One client, a disk that ends inside a page, and an array that holds what it should read.
class CacheModel : public ::testing::TestWithParam<Shape> {
 protected:
  static constexpr std::size_t kSize = (2U << 20U) - 1000;
  static constexpr std::size_t kLongestChange = 60'000;

  void open(std::uint64_t max_size_bytes, CacheMode mode = CacheMode::writeback) {
    below.change_traits().preferred_block_size = GetParam().preferred_block_size;
    settings.mode = mode;
    settings.block_size = GetParam().block_size;
    settings.max_size_bytes = max_size_bytes;
    settings.cache_on_read = [this] { return random() % 2 == 0; };
    below.pwrite(model, 0, Durability::on_flush);
    cache = std::make_shared<BlockCache>(
        settings, kSize, std::make_unique<TemporaryStore>("/tmp", settings.block_size), reads,
        writes);
    layer = std::make_unique<CacheLayer>(below, cache, settings);
  }

  Range any_range() {
    const std::uint64_t unit = random() % 3 == 0 ? 1 : random() % 2 == 0 ? kPage : 512;
    const std::uint64_t longest = random() % 4 == 0 ? kLongestChange : 4 * kPage;
    const std::uint64_t length = std::max<std::uint64_t>(unit, random() % longest / unit * unit);
    const std::uint64_t offset = random() % kSize / unit * unit;
    return {offset, std::min(length, kSize - offset)};
  }
  std::span<std::byte> modelled(const Range& range) {
    return std::span(model).subspan(range.offset, range.length);
  }

  void write() {
    const Range range = any_range();
    const auto data = pattern(range.length, random());
    layer->pwrite(data, range.offset, random() % 8 == 0 ? Durability::fua : Durability::on_flush);
    std::copy(data.begin(), data.end(), modelled(range).begin());
  }
  void zero() {
    const Range range = any_range();
    layer->zero(range.length, range.offset,
                {.may_trim = random() % 2 == 0,
                 .durability = random() % 8 == 0 ? Durability::fua : Durability::on_flush});
    std::ranges::fill(modelled(range), std::byte{0});
  }
  // What is trimmed reads as zeros where the layer below has zeros of its own, all but parts of
  // pages at its ends.
  void trim() {
    const Range range = any_range();
    layer->trim(range.length, range.offset, Durability::on_flush);
    const std::uint64_t page = PageGeometry(settings.block_size).page_size();
    const std::uint64_t first = (range.offset + page - 1) / page * page;
    const std::uint64_t end = range.end() == kSize ? kSize : range.end() / page * page;
    if (first < end) std::ranges::fill(modelled({first, end - first}), std::byte{0});
  }
  void read() {
    const Range range = any_range();
    std::vector<std::byte> found(range.length);
    layer->pread(found, range.offset);
    ASSERT_TRUE(std::ranges::equal(found, modelled(range))) << range.offset << "+" << range.length;
  }
  void step() {
    switch (random() % 12) {
      case 0:
      case 1:
      case 2:
      case 3:
        return write();
      case 4:
        return zero();
      case 5:
        return trim();
      case 6:
        return layer->cache(kPage, random() % (kSize - kPage));
      default:
        return read();
    }
  }
  void expect_all_below() {
    std::vector<std::byte> found(kSize);
    layer->pread(found, 0);
    EXPECT_TRUE(found == model);
    cache->write_back_all(below);
    EXPECT_TRUE(below.content() == model);
    EXPECT_EQ(cache->unwritten_bytes(), 0U);
  }

  CacheSettings settings;
  FakeLayer below{kSize};
  std::vector<std::byte> model = pattern(kSize, 1);
  std::mt19937 random{5};
  WorkerPool reads{2};
  WorkerPool writes{2};
  std::shared_ptr<BlockCache> cache;
  std::unique_ptr<CacheLayer> layer;
};

TEST_P(CacheModel, AgreesInATinyCache) {
  open(std::uint64_t{4} * GetParam().block_size);
  for (int n = 0; n < 2000 && !HasFatalFailure(); ++n) {
    step();
    if (n % 50 == 49) layer->flush();
    if (n % 1000 == 999) expect_all_below();
    ASSERT_LE(cache->cached_bytes(), std::uint64_t{4} * GetParam().block_size);
  }
  expect_all_below();
}

TEST_P(CacheModel, AgreesInACacheThatHoldsEverything) {
  open(0);
  for (int n = 0; n < 1000 && !HasFatalFailure(); ++n) {
    step();
    if (n % 100 == 99) layer->flush();
  }
  expect_all_below();
}

TEST_P(CacheModel, AgreesInUnsafeMode) {
  open(std::uint64_t{6} * GetParam().block_size, CacheMode::unsafe);
  for (int n = 0; n < 500 && !HasFatalFailure(); ++n) step();
  expect_all_below();
}

TEST_P(CacheModel, AgreesInWritethroughMode) {
  open(std::uint64_t{6} * GetParam().block_size, CacheMode::writethrough);
  for (int n = 0; n < 500 && !HasFatalFailure(); ++n) {
    switch (random() % 4) {
      case 0:
        write();
        break;
      case 1:
        zero();
        break;
      default:
        read();
    }
  }
  EXPECT_TRUE(below.content() == model);
  expect_all_below();
}

// Requests of write-backs fail now and then; what failed is still there.
TEST_P(CacheModel, AgreesOverALayerThatFails) {
  open(0);
  std::mt19937 luck(7);
  for (int n = 0; n < 500 && !HasFatalFailure(); ++n) {
    step();
    if (n % 20 != 19) continue;
    std::mutex mutex;
    below.on_call([&](const Call& call) {
      const std::lock_guard lock(mutex);
      if (call.op != Op::flush && luck() % 3 == 0) throw Error(EIO, "as the test wants it");
    });
    try {
      layer->flush();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EIO);
    }
    below.on_call({});
  }
  expect_all_below();
}

INSTANTIATE_TEST_SUITE_P(Shapes, CacheModel,
                         ::testing::Values(Shape{kPage, 1}, Shape{kPage, 16 * kPage},
                                           Shape{4 * kPage, kPage}, Shape{16 * kPage, 1},
                                           Shape{16 * kPage, 4 * kPage},
                                           Shape{16 * kPage, 16 * kPage},
                                           Shape{16 * kPage, 256 * kPage}, Shape{64 * kPage, kPage},
                                           Shape{256 * kPage, 1}, Shape{256 * kPage, 64 * kPage},
                                           Shape{256 * kPage, 256 * kPage}),
                         name_of);

}  // namespace
}  // namespace nbdstack::testing
