// Md5Layer with an md5-file: changes that are too large for one step of it.
#include <gmock/gmock.h>

#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::SizeIs;
using Kind = SimulatedDisk::Kind;

class LargeDiskTest : public Md5FileTest {
 protected:
  static constexpr std::uint64_t kSmall = 512;
  static constexpr std::uint64_t kMost = Md5File::kChange_blocks_max * kSmall;
  static constexpr std::uint64_t kLarge = 2 * kMost + 10 * kSmall;

  void SetUp() override {
    restart_with(open_digests(disk, kSmall));
    data = pattern(kLarge, 1);
  }
  void restart_with(std::unique_ptr<Md5File> file) {
    if (layer) layer->finalize();
    layer.reset();
    shared = std::make_shared<Md5Export>(
        Md5Options{.table_blocks = 100'000, .retry_time = Duration::zero()}, kSmall, clock,
        std::move(file));
    layer = std::make_unique<Md5Layer>(large, shared);
  }
  bool is_verified_at(std::uint64_t offset) {
    large.on_read_result([](std::span<std::byte> read, std::uint64_t) { read[0] ^= std::byte{1}; });
    const int code = error_of([&] { read(offset, kSmall); });
    large.on_read_result(nullptr);
    return code == EIO;
  }

  FakeLayer large{kLarge};
  Bytes data;
};

TEST_F(LargeDiskTest, WriteLongerThanAChangeIsRemembered) {
  write(data, 0);
  EXPECT_THAT(large.calls(Op::pwrite), SizeIs(3));
  layer->flush();
  restart_with(open_digests(disk));
  EXPECT_EQ(read(0, kLarge), data);
  for (const std::uint64_t offset : {std::uint64_t{0}, kMost - kSmall, kMost, kLarge - kSmall}) {
    EXPECT_TRUE(is_verified_at(offset)) << offset;
  }
}

TEST_F(LargeDiskTest, ZeroingLongerThanAChangeForgetsItsBlocksAndNoOthers) {
  write(data, 0);
  layer->zero(kLarge - 4 * kSmall, 2 * kSmall, {});
  EXPECT_EQ(read(2 * kSmall, 10), Bytes(10));
  EXPECT_TRUE(is_verified_at(kSmall));
  EXPECT_FALSE(is_verified_at(2 * kSmall));
  EXPECT_FALSE(is_verified_at(kMost));
  EXPECT_TRUE(is_verified_at(kLarge - kSmall));
}

TEST_F(LargeDiskTest, PartsOfBlocksAtTheEndsOfALongTrimAreUnknown) {
  write(data, 0);
  layer->trim(kLarge - 4 * kSmall - 200, 2 * kSmall + 100, Durability::on_flush);
  EXPECT_TRUE(is_verified_at(kSmall));
  EXPECT_FALSE(is_verified_at(2 * kSmall));
  EXPECT_FALSE(is_verified_at(kLarge - 3 * kSmall));
  EXPECT_TRUE(is_verified_at(kLarge - 2 * kSmall));
}

TEST_F(LargeDiskTest, LongTrimThatFailsToForgetChangesNothing) {
  write(data, 0);
  fail_disk(disk, Kind::punch, EIO);
  EXPECT_EQ(error_of([&] { layer->trim(kLarge, 0, Durability::on_flush); }), EIO);
  disk.set_hook({});
  EXPECT_EQ(large.content(), data);
}

// More regions than the list has room for, of blocks that are tiny.
class ManyRegionsTest : public Md5FileTest {
 protected:
  static constexpr std::uint32_t kTiny = 16;
  static constexpr std::uint64_t kMany = OpenRegions::kEntries + 100;

  void SetUp() override {
    shared = std::make_shared<Md5Export>(Md5Options{.retry_time = Duration::zero()}, kTiny, clock,
                                         open_digests(disk, kTiny));
    layer = std::make_unique<Md5Layer>(wide, shared);
  }
  int write_region(std::uint64_t region) {
    return error_of([&] { write(pattern(kTiny, 1), region * kBlocksPerRegion * kTiny); });
  }

  FakeLayer wide{kMany * kBlocksPerRegion * kTiny};
};

TEST_F(ManyRegionsTest, WhoChangesThemFlushesBelow) {
  for (std::uint64_t region = 0; region < kMany; ++region) ASSERT_EQ(write_region(region), 0);
  EXPECT_THAT(wide.calls(Op::flush), SizeIs(1));
  shared.reset();
  layer.reset();
  const auto digests = open_digests(disk, kTiny);
  for (const std::uint64_t region : {std::uint64_t{0}, kMany - 1}) {
    EXPECT_TRUE(digests->load({region * kBlocksPerRegion}, 1).front().has_value()) << region;
  }
}

TEST_F(ManyRegionsTest, WriteFailsWhereThatFlushFails) {
  wide.on_call([](const Call& call) {
    if (call.op == Op::flush) throw Error(EIO, "told to fail");
  });
  for (std::uint64_t region = 0; region < OpenRegions::kEntries; ++region) {
    ASSERT_EQ(write_region(region), 0) << region;
  }
  EXPECT_EQ(write_region(kMany - 1), EIO);
  EXPECT_EQ(write_region(3), 0) << "it has its place";
}

}  // namespace
}  // namespace nbdstack::testing
