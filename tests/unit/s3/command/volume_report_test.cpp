// What `show` tells, and how `create` refuses what exists.
#include "plugins/s3/command/volume_report.hpp"

#include <nlohmann/json.hpp>

#include "common/command/progress.hpp"
#include "plugins/s3/command/deletion_mark.hpp"
#include "plugins/s3/command/volume_create.hpp"
#include "plugins/s3/layout/s3backer/s3backer_open.hpp"
#include "plugins/s3/lease/lease_record.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/volume/volume_fixture.hpp"

namespace nbdstack {
namespace {

using namespace std::chrono_literals;
using testing::expect_error;
using testing::FakeClock;
using testing::FakeProcesses;
using testing::pattern;

class VolumeReportTest : public testing::VolumeFixture {
 protected:
  VolumeReport report(const VolumeRequest& how = request()) {
    return report_volume(store_, find(how), 4, {});
  }
  void place_lease(LeaseRecord::State state) {
    const FakeProcesses there("there", 4711);
    LeaseRecord record = LeaseRecord::make(there, 30s);
    record.process = there.self();
    record.state = state;
    store_.place_text(lease_object_key("disk"), record.to_json());
  }
};

TEST_F(VolumeReportTest, GeometryAndAmountAreThoseOfTheVolume) {
  create(10 * kBlock);
  write(pattern(3 * kBlock, 1), 2 * kBlock);
  const VolumeReport shown = report();
  EXPECT_EQ(shown.volume.kind, FoundKind::own);
  EXPECT_EQ(shown.volume.size_bytes, 10 * kBlock);
  EXPECT_EQ(shown.volume.object_size, kBlock);
  EXPECT_EQ(shown.stored.objects, 3U);
  EXPECT_EQ(shown.stored.bytes, 3 * kBlock);
  EXPECT_EQ(shown.stored.objects_behind_end, 0U);
  EXPECT_DOUBLE_EQ(shown.stored_percent(), 30.0);
  EXPECT_FALSE(shown.owner.has_value());
  EXPECT_NE(shown.to_text().find("stored: 3 of 10 objects (30.0 %)"), std::string::npos)
      << shown.to_text();
  EXPECT_NE(shown.to_text().find("owner: nobody"), std::string::npos);
}

TEST_F(VolumeReportTest, JsonHasWhatTheTextHas) {
  create(10 * kBlock);
  write(pattern(kBlock, 1), 0);
  place_lease(LeaseRecord::State::held);
  store_.set_age(7s);
  const auto json = nlohmann::json::parse(report().to_json());
  EXPECT_EQ(json["layout"], "own");
  EXPECT_EQ(json["size"], 10 * kBlock);
  EXPECT_EQ(json["object-size"], kBlock);
  EXPECT_EQ(json["objects"], 1);
  EXPECT_EQ(json["stored-bytes"], kBlock);
  EXPECT_EQ(json["encrypted"], false);
  EXPECT_EQ(json["owner"]["age"], 7);
  EXPECT_EQ(json["owner"]["expired"], false);
  EXPECT_EQ(json["id"], find().descriptor->descriptor.id);
}

TEST_F(VolumeReportTest, AnEncryptedVolumeIsShownWithoutItsPassphrase) {
  create_encrypted(4 * kBlock);
  write(pattern(kBlock, 1), 0, encrypted());
  const VolumeReport shown = report();
  EXPECT_EQ(shown.stored.objects, 1U);
  EXPECT_NE(shown.to_text().find("encrypted: aes-256-gcm"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(shown.to_json())["encrypted"], true);
}

TEST_F(VolumeReportTest, TheOwnerIsNamedUntilItHasGivenTheLeaseBack) {
  create(kBlock);
  place_lease(LeaseRecord::State::held);
  store_.set_age(36s);
  const auto owner = report().owner.value();
  EXPECT_NE(owner.words.find("there, pid 4711"), std::string::npos) << owner.words;
  EXPECT_TRUE(owner.expired);
  place_lease(LeaseRecord::State::released);
  EXPECT_FALSE(report().owner.has_value());
}

TEST_F(VolumeReportTest, ALeaseThatCannotBeUnderstoodIsShownAsThat) {
  create(kBlock);
  store_.place_text(lease_object_key("disk"), "{}");
  EXPECT_NE(report().owner.value().words.find("nbdstack-lease.json"), std::string::npos);
}

TEST_F(VolumeReportTest, BlocksBehindTheEndAreNotCountedAsStored) {
  create(2 * kBlock);
  for (const std::uint64_t block : {0, 5, 6}) store_.place(name_of(block), pattern(kBlock, 1));
  const VolumeReport shown = report();
  EXPECT_EQ(shown.stored.objects, 1U);
  EXPECT_EQ(shown.stored.bytes, kBlock);
  EXPECT_EQ(shown.stored.objects_behind_end, 2U);
  EXPECT_NE(shown.to_text().find("behind the end: 2"), std::string::npos);
}

TEST_F(VolumeReportTest, AForeignVolumeNeedsItsGeometry) {
  store_.place(name_of(1), pattern(kBlock, 1));
  expect_error(EINVAL, {"size=", "object-size="}, [&] { report(); });
  VolumeRequest how = request();
  how.size_bytes = 2 * kBlock;
  how.object_size = kObjectSize;
  EXPECT_EQ(report(how).volume.kind, FoundKind::foreign);
  EXPECT_EQ(report(how).stored.objects, 1U);
}

TEST_F(VolumeReportTest, AnS3backerVolumeIsShownWithItsMountToken) {
  VolumeRequest how = request();
  how.layout = Layout::s3backer;
  how.size_bytes = 4 * kBlock;
  how.object_size = kObjectSize;
  for (const bool hashed : {false, true}) {
    how.key = hashed ? "hashed" : "plain";
    how.hash_prefix = hashed;
    const VolumeLayout layout = open(how);
    make_disk(store_, layout, {})->pwrite(pattern(3 * kBlock, 1), 0, Durability::on_flush);
    EXPECT_FALSE(report(how).owner.has_value());
    put_mount_token(store_, layout, false);
    const VolumeReport shown = report(how);
    EXPECT_EQ(shown.volume.kind, FoundKind::s3backer);
    EXPECT_EQ(shown.stored.objects, 3U);
    EXPECT_NE(shown.owner.value().words.find("mounted by"), std::string::npos);
  }
}

TEST_F(VolumeReportTest, AnObjectIsShownAsAnImage) {
  store_.place("disk", pattern(5000, 1));
  EXPECT_EQ(report().volume.kind, FoundKind::image);
  EXPECT_NE(report().to_text().find("size: 5000"), std::string::npos);
}

TEST_F(VolumeReportTest, NothingThereIsAnError) {
  expect_error(ENOENT, {"no volume", "bucket b, key disk"}, [&] { report(); });
  VolumeRequest how = request();
  how.size_bytes = kBlock;
  expect_error(ENOENT, {"no volume", "bucket b, key disk"}, [&] { report(how); });
}

TEST_F(VolumeReportTest, NothingIsChanged) {
  create(10 * kBlock);
  store_.forget_calls();
  report();
  EXPECT_TRUE(store_.calls(testing::StoreOp::put).empty());
  EXPECT_TRUE(store_.calls(testing::StoreOp::remove).empty());
}

// --- create ---

TEST_F(VolumeReportTest, CreateRefusesWhateverIsThere) {
  VolumeRequest how = request();
  how.size_bytes = 8 * kBlock;
  EXPECT_EQ(create_volume(store_, how).size_bytes, 8 * kBlock);
  expect_error(EEXIST, {kDescriptor}, [&] { create_volume(store_, how); });
  store_.place_text(kDescriptor, DeletionMark{}.to_json());
  expect_error(EEXIST, {kDescriptor}, [&] { create_volume(store_, how); });
  store_.drop(kDescriptor);
  store_.place(name_of(7), pattern(kBlock, 1));
  expect_error(EEXIST, {name_of(7)}, [&] { create_volume(store_, how); });
  store_.drop(name_of(7));
  store_.place("disk/00000003", pattern(kBlock, 1));
  expect_error(EEXIST, {"disk/00000003"}, [&] { create_volume(store_, how); });
}

TEST_F(VolumeReportTest, CreateNeedsASizeAndARecordOfIt) {
  expect_error(EINVAL, {"size="}, [&] { create_volume(store_, request()); });
  VolumeRequest how = request();
  how.size_bytes = kBlock;
  how.layout = Layout::s3backer;
  expect_error(EINVAL, {"s3backer"}, [&] { create_volume(store_, how); });
  EXPECT_TRUE(store_.keys().empty());
}

// --- progress ---

TEST(ProgressTest, ATerminalShowsOneLineAtMostFiveTimesASecond) {
  FakeClock clock;
  std::string shown;
  Progress progress(ProgressStyle::terminal, clock, [&](const auto& text) { shown += text; });
  progress.show("too early");
  clock.advance(200ms);
  progress.show("a");
  progress.show("too early again");
  clock.advance(200ms);
  progress.show("b");
  EXPECT_EQ(shown, "\r\x1b[Ka\r\x1b[Kb");
  shown.clear();
  progress.clear();
  progress.clear();
  EXPECT_EQ(shown, "\r\x1b[K");
}

TEST(ProgressTest, ALogGetsALineEveryTenSeconds) {
  FakeClock clock;
  std::string shown;
  Progress progress(ProgressStyle::lines, clock, [&](const auto& text) { shown += text; });
  for (int second = 1; second <= 25; ++second) {
    clock.advance(1s);
    progress.show(std::to_string(second));
  }
  progress.clear();
  EXPECT_EQ(shown, "10\n20\n");
}

TEST(ProgressTest, NoneShowsNothing) {
  FakeClock clock;
  Progress progress(ProgressStyle::none, clock, [](const auto& /*text*/) { FAIL(); });
  clock.advance(1h);
  progress.show("a");
  progress.clear();
}

}  // namespace
}  // namespace nbdstack
