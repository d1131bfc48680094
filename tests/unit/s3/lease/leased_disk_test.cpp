// A disk under a lease: changes and flushes are refused without it, reads are not.
#include "plugins/s3/lease/leased_disk.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using testing::expect_error;
using testing::FakeClock;
using testing::FakeLayer;
using testing::FakeProcesses;
using testing::LogOfErrors;
using testing::Op;
using testing::pattern;
using testing::QuirkyStore;

const DiskIdentity kIdentity{.id = "s3-1", .size_bytes = 1 << 20, .term = WriterTerm{7, 5}};

TEST(LeasedDiskTest, IsChangedOnlyWhileTheLeaseLasts) {
  const LogOfErrors log;
  FakeClock clock;
  FakeProcesses processes("here", 1);
  QuirkyStore store(clock);
  Lease lease({.volume = "s3://b/disk", .volume_key = "disk"}, clock, processes);
  auto owned = std::make_unique<FakeLayer>(1 << 20);
  FakeLayer& below = *owned;
  LeasedDisk disk(std::move(owned), lease, kIdentity);
  const auto data = pattern(4096, 1);
  std::vector<std::byte> buffer(4096);
  ExtentList extents;

  const auto change = [&] {
    disk.pwrite(data, 0, Durability::on_flush);
    disk.zero(4096, 8192, {});
    disk.trim(4096, 16384, Durability::on_flush);
  };
  const auto expect_changes_refused = [&] {
    below.forget_calls();
    const std::vector<std::string> words{"s3://b/disk"};
    expect_error(ESHUTDOWN, words, [&] { disk.pwrite(data, 0, Durability::on_flush); });
    expect_error(ESHUTDOWN, words, [&] { disk.zero(4096, 8192, {}); });
    expect_error(ESHUTDOWN, words, [&] { disk.trim(4096, 0, Durability::on_flush); });
    expect_error(ESHUTDOWN, words, [&] { disk.flush(); });
    EXPECT_TRUE(below.calls().empty());
  };

  expect_changes_refused();
  lease.acquire(store);
  change();
  EXPECT_EQ(below.calls().size(), 3U);
  clock.advance(std::chrono::seconds(25));
  expect_changes_refused();

  disk.pread(buffer, 0);
  EXPECT_EQ(buffer, data);
  disk.cache(4096, 0);
  disk.extents(4096, 0, false, extents);
  disk.finalize();
  EXPECT_EQ(below.calls().size(), 3U);
  EXPECT_EQ(disk.traits().size_bytes, 1U << 20);

  lease.tend();
  change();
  disk.flush();
  lease.release();
  expect_changes_refused();
}

TEST(LeasedDiskTest, WithoutALeaseAskedForEverythingPasses) {
  FakeClock clock;
  FakeProcesses processes("here", 1);
  Lease lease({.volume = "s3://b/disk", .volume_key = "disk", .ownership = Ownership::none}, clock,
              processes);
  auto owned = std::make_unique<FakeLayer>(1 << 20);
  FakeLayer& below = *owned;
  LeasedDisk disk(std::move(owned), lease, kIdentity);
  disk.pwrite(pattern(4096, 1), 0, Durability::fua);
  EXPECT_EQ(below.calls(Op::pwrite).size(), 1U);
}

TEST(LeasedDiskTest, TellsWhichDiskItIsAndAtOnceWhetherItMayStillBeWritten) {
  const LogOfErrors log;
  FakeClock clock;
  FakeProcesses here("here", 1);
  FakeProcesses there("there", 2);
  QuirkyStore store(clock);
  Lease lease({.volume = "s3://b/disk", .volume_key = "disk"}, clock, here);
  lease.acquire(store);
  LeasedDisk disk(std::make_unique<FakeLayer>(1 << 20), lease, kIdentity);
  const auto expect_right = [&](WriteRight right) {
    const auto identity = disk.identity();
    DiskIdentity expected = kIdentity;
    expected.right = right;
    EXPECT_EQ(*identity, expected) << identity->to_text();
    EXPECT_EQ(disk.identity().get(), identity.get()) << "unchanged, it is the same object";
  };
  expect_right(WriteRight::held);
  clock.advance(std::chrono::seconds(25));
  expect_right(WriteRight::doubtful);
  lease.tend();
  expect_right(WriteRight::held);
  Lease other({.volume = "s3://b/disk", .volume_key = "disk", .ownership = Ownership::force}, clock,
              there);
  other.acquire(store);
  clock.advance(std::chrono::seconds(13));
  lease.tend();
  expect_right(WriteRight::lost);
}

TEST(LeasedDiskTest, WithoutALeaseItHasNoRightToLose) {
  FakeClock clock;
  FakeProcesses processes("here", 1);
  Lease lease({.volume = "s3://b/disk", .volume_key = "disk", .ownership = Ownership::none}, clock,
              processes);
  LeasedDisk disk(std::make_unique<FakeLayer>(1 << 20), lease, kIdentity);
  EXPECT_EQ(disk.identity()->right, WriteRight::none);
}

}  // namespace
}  // namespace nbdstack
