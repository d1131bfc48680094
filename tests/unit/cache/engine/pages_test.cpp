// Blocks of several pages: what is read from below and sent there when only parts are known.
#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

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

}  // namespace
}  // namespace nbdstack::testing
