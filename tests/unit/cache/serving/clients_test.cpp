// Clients that leave: what they did not flush goes down with the last of them.
#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

class CacheClients : public CacheTest {
 protected:
  // Another connection to the same cache.
  std::unique_ptr<CacheLayer> connect() {
    const auto same = std::shared_ptr<BlockCache>(&cache(), [](BlockCache*) {});
    return std::make_unique<CacheLayer>(below, same, settings);
  }
};

TEST_F(CacheClients, LeaveNothingDirty) {
  write(pattern(kBlock, 1), 0);
  layer().finalize();
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
}

TEST_F(CacheClients, ThatLeaveOthersBehindWriteNothing) {
  const auto other = connect();
  write(pattern(kBlock, 1), 0);
  layer().finalize();
  EXPECT_TRUE(below.calls().empty());
  EXPECT_EQ(cache().unwritten_bytes(), kBlock);
  other->finalize();
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
  EXPECT_FALSE(cache().has_unwritten());
}

TEST_F(CacheClients, ThatCannotWriteHoldNothingBack) {
  layer();
  below.change_traits().can_write = false;
  const auto reader = connect();
  below.change_traits().can_write = true;
  write(pattern(kBlock, 1), 0);
  layer().finalize();
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
  reader->finalize();
  EXPECT_EQ(below.calls(Op::pwrite).size(), 1U);
}

TEST_F(CacheClients, WhoseHandshakeFailedHoldNothingBack) {
  connect().reset();
  write(pattern(kBlock, 1), 0);
  layer().finalize();
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
}

TEST_F(CacheClients, LeaveOnce) {
  auto other = connect();
  const auto third = connect();
  write(pattern(kBlock, 1), 0);
  other->finalize();
  other->finalize();
  other.reset();
  layer().finalize();
  EXPECT_TRUE(below.calls().empty());
  third->finalize();
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
}

TEST_F(CacheClients, ThatComeWhileTheLastOneSettlesSettleTheirOwn) {
  write(pattern(kBlock, 1), 0);
  Gate gate;
  stop_at(gate, Op::pwrite);
  auto last = later([&] { layer().finalize(); });
  gate.wait_for_arrivals(1);
  const auto late = connect();
  late->pwrite(pattern(kBlock, 2), block(3).offset, Durability::on_flush);
  auto later_still = later([&] { late->finalize(); });
  gate.wait_for_arrivals(2);
  gate.open();
  last.get();
  later_still.get();
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
  EXPECT_EQ(below.content(block(3)), pattern(kBlock, 2));
  EXPECT_FALSE(cache().has_unwritten());
}

TEST_F(CacheClients, ThatCannotSettleLeaveItToTheNextOne) {
  write(pattern(kBlock, 1), 0);
  fail(Op::pwrite, EIO);
  EXPECT_EQ(code_of([&] { layer().finalize(); }), EIO);
  EXPECT_EQ(cache().unwritten_bytes(), kBlock);
  let_all_pass();
  connect()->finalize();
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 1));
}

}  // namespace
}  // namespace nbdstack::testing
