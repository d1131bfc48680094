// What `delete` leaves at every point at which it may be interrupted.
#include "plugins/s3/command/volume_delete.hpp"

#include <atomic>

#include "plugins/s3/command/block_removal.hpp"
#include "plugins/s3/command/deletion_mark.hpp"
#include "plugins/s3/layout/s3backer/s3backer_open.hpp"
#include "plugins/s3/lease/lease_record.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/held_store.hpp"
#include "tests/unit/s3/plain_format.hpp"
#include "tests/unit/s3/volume/volume_fixture.hpp"

namespace nbdstack {
namespace {

using testing::expect_error;
using testing::pattern;
using testing::StoreCall;
using testing::StoreOp;

class VolumeDeleteTest : public testing::VolumeFixture {
 protected:
  std::uint64_t delete_it(const VolumeRequest& how = request()) {
    const std::uint64_t removed = delete_blocks(store_, find(how), {.requests = 4});
    finish_deletion(store_, "disk");
    return removed;
  }
  // A volume of `blocks` blocks in an s3backer bucket of its own.
  VolumeRequest make_s3backer(std::uint64_t blocks, bool hashed) {
    VolumeRequest how = request();
    how.layout = Layout::s3backer;
    how.hash_prefix = hashed;
    VolumeRequest sized = how;
    sized.size_bytes = blocks * kBlock;
    sized.object_size = kObjectSize;
    write(pattern(blocks * kBlock, 1), 0, sized);
    return how;
  }
  // What throws in the midst of a deletion, as a process that is killed there.
  void fail_from(StoreOp op, int which) {
    auto count = std::make_shared<std::atomic<int>>(0);
    store_.on_call([=](const StoreCall& call) {
      if (call.op == op && ++*count >= which) throw Error(ETIMEDOUT, "interrupted");
    });
  }
};

TEST_F(VolumeDeleteTest, NothingOfTheVolumeIsLeft) {
  create(2500 * kBlock);
  write(pattern(2500 * kBlock, 1), 0);
  store_.place(name_of(5000), pattern(kBlock, 1));  // behind the end
  store_.place_text(lease_object_key("disk"), "{}");
  store_.place_text("disk/nbdstack-probe-0123", "left behind");
  store_.place_text("disk/notes.txt", "mine");
  store_.place_text("disk2/0000000000000000", "another volume's");
  store_.forget_calls();
  EXPECT_EQ(delete_it(), 2501U);
  EXPECT_EQ(store_.keys(), (std::vector<std::string>{"disk/notes.txt", "disk2/0000000000000000"}));
  // 1,000 a request, at most one short one for each listing, and those for the rest.
  EXPECT_LE(store_.calls(StoreOp::remove).size(), 3U + 1 + 2);
  EXPECT_FALSE(store_.saw_overlapping_writes());
}

TEST_F(VolumeDeleteTest, WhatAListingHidesIsRemovedByTheRecord) {
  const testing::LogOfErrors log;
  create(2500 * kBlock);
  write(pattern(2000 * kBlock, 1), 0);
  store_.filter_listings(
      [](const std::string& key) { return key < name_of(100) || key > name_of(1299); });
  const ChangeOptions options{.requests = 4, .recorded = {{{0, 2000}, true}, {{2000, 500}, false}}};
  EXPECT_EQ(delete_blocks(store_, find(), options), 2000U);
  finish_deletion(store_, "disk");
  EXPECT_TRUE(store_.keys().empty());
  EXPECT_EQ(log.count({"does not show 1200 objects"}), 1U);
}

TEST_F(VolumeDeleteTest, TheMarkComesFirstAndGoesLast) {
  create(100 * kBlock);
  write(pattern(100 * kBlock, 1), 0);
  store_.forget_calls();
  delete_it();
  std::vector<StoreCall> changes = store_.calls();
  std::erase_if(changes, [](const StoreCall& call) {
    return call.op != StoreOp::put && call.op != StoreOp::remove;
  });
  EXPECT_EQ(changes.front(), (StoreCall{StoreOp::put, {kDescriptor}}));
  EXPECT_EQ(changes.back(), (StoreCall{StoreOp::remove, {kDescriptor}}));
}

TEST_F(VolumeDeleteTest, InterruptedAnywhereItOpensAsNothingAndCanBeFinished) {
  for (int interrupted_at = 1; interrupted_at <= 5; ++interrupted_at) {
    SCOPED_TRACE(interrupted_at);
    create(2500 * kBlock);
    write(pattern(2500 * kBlock, 1), 0);
    store_.place_text(lease_object_key("disk"), "{}");
    fail_from(StoreOp::remove, interrupted_at);
    expect_error(ETIMEDOUT, {"interrupted"}, [&] { delete_it(); });
    store_.on_call({});
    expect_error(EINVAL, {kDescriptor, "nbdstack-volume-being-deleted"}, [&] { open(); });
    VolumeRequest as_foreign = request();
    as_foreign.size_bytes = 2500 * kBlock;
    as_foreign.object_size = kObjectSize;
    expect_error(EINVAL, {"nbdstack-volume-being-deleted"}, [&] { open(as_foreign); });
    EXPECT_EQ(find().kind, FoundKind::half_deleted);
    delete_it();
    EXPECT_TRUE(store_.keys().empty());
  }
}

TEST_F(VolumeDeleteTest, WithoutTheMarkNothingIsRemoved) {
  create(10 * kBlock);
  write(pattern(10 * kBlock, 1), 0);
  const FoundVolume volume = find();
  const auto before = store_.keys();
  fail_from(StoreOp::put, 1);
  expect_error(ETIMEDOUT, {"interrupted"}, [&] { delete_it(); });
  EXPECT_EQ(store_.keys(), before);
  EXPECT_EQ(open().size_bytes, 10 * kBlock);
}

TEST_F(VolumeDeleteTest, WhoLosesTheLeaseRemovesNothingMore) {
  create(5000 * kBlock);
  write(pattern(5000 * kBlock, 1), 0);
  std::atomic<int> asked = 0;
  const ChangeOptions options{.requests = 1, .check_writable = [&] {
                                if (++asked > 3) throw Error(ESHUTDOWN, "the lease is lost");
                              }};
  expect_error(ESHUTDOWN, {"lease"}, [&] { delete_blocks(store_, find(), options); });
  EXPECT_EQ(stored_blocks(), 3000U);
}

TEST_F(VolumeDeleteTest, AnEncryptedVolumeIsDeletedWithoutItsPassphrase) {
  create_encrypted(4 * kBlock);
  write(pattern(4 * kBlock, 1), 0, encrypted());
  EXPECT_EQ(delete_it(), 4U);
  EXPECT_TRUE(store_.keys().empty());
}

TEST_F(VolumeDeleteTest, AForeignVolumeIsMarkedAsWell) {
  for (std::uint64_t block = 0; block < 20; ++block) {
    store_.place(name_of(block), pattern(kBlock, 1));
  }
  VolumeRequest how = request();
  how.size_bytes = 20 * kBlock;
  how.object_size = kObjectSize;
  fail_from(StoreOp::remove, 1);
  expect_error(ETIMEDOUT, {"interrupted"}, [&] { delete_it(how); });
  store_.on_call({});
  expect_error(EINVAL, {"nbdstack-volume-being-deleted"}, [&] { open(how); });
  EXPECT_EQ(delete_it(), 20U);
  EXPECT_TRUE(store_.keys().empty());
}

TEST_F(VolumeDeleteTest, ProgressCountsUpToTheEnd) {
  create(3500 * kBlock);
  write(pattern(3500 * kBlock, 1), 0);
  std::vector<std::uint64_t> seen;
  delete_blocks(store_, find(), {.requests = 4, .check_writable = {}, .progress = [&](auto done) {
                                   seen.push_back(done);
                                 }});
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), 3500U);
}

TEST_F(VolumeDeleteTest, WhoComesTooLateToFinishLeavesTheNewVolumeAlone) {
  create(10 * kBlock);
  const FoundVolume volume = find();
  delete_blocks(store_, volume, {.requests = 4});
  finish_deletion(store_, "disk");
  create(20 * kBlock);
  store_.place_text(lease_object_key("disk"), "{}");
  const auto before = store_.keys();
  finish_deletion(store_, "disk");
  EXPECT_EQ(store_.keys(), before);
}

// --- the mark itself ---

TEST_F(VolumeDeleteTest, OnlyAMarkIsTakenForOne) {
  const DeletionMark mark{.size_bytes = 12345, .object_size = 4096};
  const auto read = DeletionMark::parse(mark.to_json());
  EXPECT_EQ(read.value().size_bytes, 12345U);
  EXPECT_EQ(read.value().object_size, 4096U);
  for (const char* other :
       {"", "[]", "{}", R"({"format": "nbdstack-volume"})", R"({"format": 7})",
        R"({"format": "nbdstack-volume-being-deleted", "object-size": 4294967296})"}) {
    EXPECT_FALSE(DeletionMark::parse(other).has_value()) << other;
  }
  const auto bare = DeletionMark::parse(R"({"format": "nbdstack-volume-being-deleted"})");
  EXPECT_EQ(bare.value().object_size, 0U);
}

TEST_F(VolumeDeleteTest, AMarkWithoutGeometryIsEnough) {
  store_.place_text(kDescriptor, R"({"format": "nbdstack-volume-being-deleted"})");
  store_.place(name_of(3), pattern(kBlock, 1));
  EXPECT_EQ(delete_it(), 1U);
  EXPECT_TRUE(store_.keys().empty());
}

// --- s3backer's ---

TEST_F(VolumeDeleteTest, AnS3backerVolumeGoesWithItsToken) {
  for (const bool hashed : {false, true}) {
    const VolumeRequest how = make_s3backer(1500, hashed);
    store_.place_text("disk/notes.txt", "mine");
    EXPECT_EQ(delete_s3backer_volume(store_, find(how), {.requests = 4}, false), 1500U);
    EXPECT_EQ(store_.keys(), std::vector<std::string>{"disk/notes.txt"});
  }
}

TEST_F(VolumeDeleteTest, AnS3backerVolumeThatIsMountedIsRefused) {
  const VolumeRequest how = make_s3backer(10, false);
  put_mount_token(store_, open(how), false);
  const auto before = store_.keys();
  expect_error(EBUSY, {"in use", "own=force"},
               [&] { delete_s3backer_volume(store_, find(how), {.requests = 4}, false); });
  EXPECT_EQ(store_.keys(), before);
}

TEST_F(VolumeDeleteTest, AnInterruptedOneKeepsItsTokenAndItsGeometry) {
  for (const bool hashed : {false, true}) {
    const VolumeRequest how = make_s3backer(2500, hashed);
    fail_from(StoreOp::remove, 2);
    expect_error(ETIMEDOUT, {"interrupted"},
                 [&] { delete_s3backer_volume(store_, find(how), {.requests = 4}, false); });
    store_.on_call({});
    const FoundVolume left = find(how);
    EXPECT_EQ(left.size_bytes, 2500 * kBlock);
    EXPECT_TRUE(store_.body_of(left.mount_token).has_value());
    expect_error(EBUSY, {"own=force"},
                 [&] { delete_s3backer_volume(store_, left, {.requests = 4}, false); });
    delete_s3backer_volume(store_, left, {.requests = 4}, true);
    EXPECT_TRUE(store_.keys().empty());
  }
}

// A volume that is created anew under the same key, while a gateway still holds a request of the
// deletion.
TEST(BlockRemovalTest, ThatIsCarriedOutLateLeavesWhatWasWrittenSince) {
  testing::HeldStore store;
  testing::FakeClock clock;
  const auto format = testing::plain_format("disk", testing::kObject);
  for (std::uint64_t i = 0; i < 3; ++i) store.place_text(testing::disk_object(i), "old");
  const ChangeOptions options{.requests = 1,
                              .guard = {.conditions = {.support = ConditionSupport::with_quotes,
                                                       .of_removals = RemovalState::kept},
                                        .bound = std::chrono::seconds(60),
                                        .clock = &clock}};
  store.hold_changes(1);
  testing::expect_error(ETIMEDOUT, {},
                        [&] { BlockRemoval(store, *format, options).remove({0}, {3}); });
  BlockRemoval(store, *format, options).remove({0}, {3});
  EXPECT_TRUE(store.keys().empty());
  store.place_text(testing::disk_object(1), "new");
  store.release_changes();
  EXPECT_EQ(store.keys(), std::vector<std::string>{testing::disk_object(1)});
}

}  // namespace
}  // namespace nbdstack
