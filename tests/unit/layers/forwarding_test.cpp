// What a layer does not change reaches the one below as it came, and so does the end of a client.
#include "common/block/forwarding_layer.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "common/block/exclusive_layer.hpp"
#include "filters/cacheextents/cacheextents_layer.hpp"
#include "filters/md5/md5_layer.hpp"
#include "filters/readahead/readahead_layer.hpp"
#include "filters/zeroblock/zeroblock_layer.hpp"
#include "plugins/s3/volume/per_client_volume.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::size_t kDisk_bytes = 1U << 20U;
constexpr std::uint32_t kBlock = 4096;

// Counts the clients that left.
class Counting final : public ForwardingLayer {
 public:
  explicit Counting(Layer& below) : ForwardingLayer(below) {}
  void finalize() override { ++finalized; }
  unsigned finalized = 0;
};

class Plain final : public ForwardingLayer {
 public:
  explicit Plain(LayerBelow below) : ForwardingLayer(std::move(below)) {}
};

class ForwardingLayerTest : public ::testing::Test {
 protected:
  // How often a client that leaves the layer leaves the one below.
  template <typename Upper, typename... Given>
  unsigned passed_on(Given&&... given) {
    Counting counting(disk);
    Upper upper(counting, std::forward<Given>(given)...);
    upper.finalize();
    return counting.finalized;
  }

  FakeLayer disk{kDisk_bytes};
  FakeClock clock;
  Mutex mutex;
};

TEST_F(ForwardingLayerTest, PassesEachCallAsItCame) {
  Plain layer(disk);
  std::vector<std::byte> data(kBlock);
  ExtentList extents;
  layer.pread(data, 0);
  layer.pwrite(data, kBlock, Durability::fua);
  layer.flush();
  layer.zero(kBlock, 2 * kBlock, {.durability = Durability::fua});
  layer.trim(kBlock, 3 * kBlock, Durability::fua);
  layer.cache(kBlock, 4 * kBlock);
  layer.extents(kBlock, 5 * kBlock, false, extents);
  const std::vector<Call> expected{{Op::pread, {0, kBlock}},
                                   {Op::pwrite, {kBlock, kBlock}, Durability::fua},
                                   {Op::flush, {}},
                                   {Op::zero, {2 * kBlock, kBlock}, Durability::fua},
                                   {Op::trim, {3 * kBlock, kBlock}, Durability::fua},
                                   {Op::cache, {4 * kBlock, kBlock}},
                                   {Op::extents, {5 * kBlock, kBlock}}};
  EXPECT_EQ(disk.calls(), expected);
  EXPECT_EQ(&layer.traits(), &disk.traits());
  disk.set_identity(DiskIdentity{.id = "a", .size_bytes = kDisk_bytes});
  EXPECT_EQ(layer.identity(), disk.identity());
}

TEST_F(ForwardingLayerTest, AnOwnedLayerGoesWithIt) {
  struct Noted final : public ForwardingLayer {
    Noted(Layer& below, bool& gone) : ForwardingLayer(below), is_gone(gone) {}
    ~Noted() override { is_gone = true; }
    bool& is_gone;
  };
  bool is_gone = false;
  {
    const Plain layer(std::make_unique<Noted>(disk, is_gone));
    EXPECT_EQ(layer.traits().size_bytes, kDisk_bytes);
    EXPECT_FALSE(is_gone);
  }
  EXPECT_TRUE(is_gone);
}

TEST_F(ForwardingLayerTest, AClientThatLeavesLeavesTheLayerBelowOnce) {
  disk.change_traits().cache = Support::native;
  PrefetchThreads threads(1, kBlock);
  EXPECT_EQ(passed_on<Plain>(), 1U);
  EXPECT_EQ(passed_on<ExclusiveLayer>(mutex), 1U);
  EXPECT_EQ(passed_on<CacheextentsLayer>(std::make_shared<CacheextentsState>(16, kDisk_bytes)), 1U);
  EXPECT_EQ(passed_on<Md5Layer>(std::make_shared<Md5Export>(Md5Options{}, kBlock, clock)), 1U);
  EXPECT_EQ(passed_on<ReadaheadLayer>(
                std::make_shared<ReadaheadExport>(ReadaheadOptions{}, disk.traits(), threads)),
            1U);
  EXPECT_EQ(passed_on<ZeroBlockLayer>(std::make_shared<ZeroBlockState>(disk.traits(), kBlock)), 1U);
}

TEST_F(ForwardingLayerTest, ADiskThatClientsShareOutlivesTheirLeaving) {
  EXPECT_EQ(passed_on<PerClientVolume>(false), 0U);
}

}  // namespace
}  // namespace nbdstack::testing
