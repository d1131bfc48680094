// What is remembered when this server may not be the disk's only writer any more.
#include <gmock/gmock.h>

#include "tests/unit/zeroblock/zeroblock_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;

class ZeroBlockWritersTest : public ZeroBlockTest {
 protected:
  void SetUp() override {
    below.fill({0, kDiskSize}, std::byte{7});
    tell(WriteRight::held, {3, 3});
    shared = std::make_shared<ZeroBlockState>(below.traits(), kBlock, false, below.identity());
    layer = std::make_unique<ZeroBlockLayer>(below, shared);
  }

  void tell(WriteRight right, const WriterTerm& term) {
    DiskIdentity identity;
    identity.id = "x";
    identity.size_bytes = kDiskSize;
    identity.term = term;
    identity.right = right;
    below.set_identity(identity);
  }

  // Another server writes: nothing passes through here.
  void another_writes(const Range& range) { below.fill(range, std::byte{9}); }
};

TEST_F(ZeroBlockWritersTest, ZerosAreUsedWhileTheRightIsHeld) {
  make_zeros(blocks(2));
  EXPECT_EQ(read(blocks(2)), Bytes(kBlock));
  EXPECT_TRUE(below.calls().empty());
}

TEST_F(ZeroBlockWritersTest, ReadsPassWhenTheRightIsNotCertain) {
  for (const WriteRight right : {WriteRight::doubtful, WriteRight::lost}) {
    tell(WriteRight::held, {3, 3});
    make_zeros(blocks(2));
    another_writes(blocks(2));
    tell(right, {3, 3});
    EXPECT_EQ(read(blocks(2)), Bytes(kBlock, std::byte{9}));
    EXPECT_THAT(extents(blocks(2)), ElementsAre(Extent{blocks(2), kData}));
    layer->cache(kBlock, 2 * kBlock);
    EXPECT_EQ(below.calls(Op::cache).size(), 1U);
  }
}

// A part of a block of zeros is written as the whole block: of zeros that are none any more that
// would destroy what another server has written.
TEST_F(ZeroBlockWritersTest, ChangesAreSentAsTheyAreWhenTheRightIsNotCertain) {
  make_zeros(blocks(2));
  another_writes(blocks(2));
  tell(WriteRight::doubtful, {3, 3});
  write(Bytes(100, std::byte{5}), 2 * kBlock);
  EXPECT_EQ(below.calls(Op::pwrite).back().range, (Range{2 * kBlock, 100}));
  write(Bytes(kBlock), 2 * kBlock);
  zero(blocks(2));
  trim(blocks(2));
  EXPECT_EQ(below.calls(Op::zero).size() + below.calls(Op::trim).size(), 3U);
}

TEST_F(ZeroBlockWritersTest, NothingIsLearntWithoutTheRight) {
  tell(WriteRight::doubtful, {3, 3});
  zero(blocks(2));
  static_cast<void>(read(blocks(2)));
  EXPECT_FALSE(knows_zeros(blocks(2)));
}

TEST_F(ZeroBlockWritersTest, TheRightIsLostWhileAZeroIsUnderWay) {
  below.on_call([&](const Call& call) {
    if (call.op == Op::zero) tell(WriteRight::lost, {3, 3});
  });
  zero(blocks(2));
  EXPECT_FALSE(knows_zeros(blocks(2)));
}

TEST_F(ZeroBlockWritersTest, ZerosOfAnEarlierTermAreForgotten) {
  make_zeros(blocks(2));
  tell(WriteRight::held, {4, 3});
  EXPECT_EQ(read(blocks(2)), Bytes(kBlock));
  EXPECT_TRUE(below.calls().empty());
  another_writes(blocks(2));
  tell(WriteRight::held, {6, 5});
  EXPECT_EQ(read(blocks(2)), Bytes(kBlock, std::byte{9}));
}

TEST_F(ZeroBlockWritersTest, ForgettingReachesWhatIsUnderWay) {
  auto watch = shared->map.query(blocks(0, 4));
  auto change = shared->map.begin_change(blocks(5), blocks(5));
  shared->map.forget_all();
  const std::vector<Extent> found{{blocks(0, 4), kStoredZeros}};
  shared->map.learn(watch, found);
  const std::vector<ZeroMap::Content> contents{{blocks(5), kStoredZeros}};
  change->commit(contents);
  change.reset();
  EXPECT_TRUE(known({0, kDiskSize}).empty());
}

}  // namespace
}  // namespace nbdstack::testing
