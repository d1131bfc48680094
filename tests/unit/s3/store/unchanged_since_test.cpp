// Who only reads, and what it may say of holes.
#include "plugins/s3/store/unchanged_since.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "common/error.hpp"
#include "plugins/s3/volume/volume.hpp"
#include "tests/unit/s3/memory_store.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using testing::kObject;
using testing::MemoryStore;
using testing::StoreCall;
using testing::StoreOp;

const std::string kLease = "disk/nbdstack-lease.json";
const std::string kRecord = "disk/nbdstack-blocks";

class UnchangedSinceTest : public ::testing::Test {
 protected:
  UnchangedSinceTest() {
    store_.place_text(kLease, "released");
    store_.place_text(kRecord, "recorded");
  }
  std::shared_ptr<UnchangedSince> look() {
    return std::make_shared<UnchangedSince>(
        store_, UnchangedSince::Seen{.key = kLease, .etag = store_.etag_of(kLease)},
        UnchangedSince::Seen{.key = kRecord, .etag = store_.etag_of(kRecord)});
  }

  MemoryStore store_;
};

TEST_F(UnchangedSinceTest, HoldsUntilEitherObjectIsReplacedOrRemoved) {
  for (const std::string& changed : {kLease, kRecord}) {
    for (const bool is_removed : {false, true}) {
      const auto unchanged = look();
      EXPECT_TRUE(unchanged->holds());
      EXPECT_TRUE(unchanged->holds());
      is_removed ? store_.drop(changed) : store_.place_text(changed, "another");
      EXPECT_FALSE(unchanged->holds());
      store_.forget_calls();
      EXPECT_FALSE(unchanged->holds());
      EXPECT_TRUE(store_.calls().empty()) << "once is enough";
      store_.place_text(changed, "something");
    }
  }
}

TEST_F(UnchangedSinceTest, IsNotKnownWhileTheStoreFails) {
  const auto unchanged = look();
  store_.on_call([](const StoreCall& /*call*/) { throw Error(EIO, "down"); });
  EXPECT_FALSE(unchanged->holds());
  store_.on_call({});
  EXPECT_TRUE(unchanged->holds());
}

TEST_F(UnchangedSinceTest, RecordedHolesAreToldAsLongAsItHoldsAndReadsAsk) {
  const auto unchanged = look();
  const auto frozen = std::make_shared<PresenceMap>([unchanged] { return unchanged->holds(); },
                                                    KnownBlocks{{{0, 4}, true}, {{4, 4}, false}});
  Volume volume(store_, testing::plain_format("disk", kObject), BlockGeometry(8 * kObject, kObject),
                {.connections = 1, .frozen = frozen});
  const auto extents = [&](std::uint64_t first, std::uint64_t count) {
    ExtentList list;
    volume.extents(count * kObject, first * kObject, false, list);
    return list.all();
  };
  EXPECT_TRUE(store_.calls().empty()) << "nothing is listed";
  EXPECT_EQ(extents(0, 4), (std::vector<Extent>{{{0, 4 * kObject}, kData}}));
  EXPECT_TRUE(store_.calls().empty()) << "no hole would be told of";
  EXPECT_EQ(extents(0, 8),
            (std::vector<Extent>{{{0, 4 * kObject}, kData}, {{4 * kObject, 4 * kObject}, kHole}}));
  EXPECT_EQ(store_.calls(),
            (std::vector<StoreCall>{{StoreOp::look_up, {kLease}}, {StoreOp::look_up, {kRecord}}}));
  store_.place_text(kLease, "held");
  const std::vector<std::byte> written(kObject, std::byte{7});
  store_.place("disk/0000000000000005", written);
  std::vector<std::byte> data(kObject);
  volume.pread(data, 5 * kObject);
  EXPECT_EQ(data, written);
  EXPECT_EQ(extents(0, 8), (std::vector<Extent>{{{0, 8 * kObject}, kData}}));
}

}  // namespace
}  // namespace nbdstack
