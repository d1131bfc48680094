// The list of regions that may be out of date: what a crash makes of each state.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "filters/md5/open_regions.hpp"
#include "tests/unit/fakes/break_invariant.hpp"
#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {

NBDSTACK_OPEN_MEMBER(TableOfOpenRegions, &OpenRegions::regions_);

namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Kind = SimulatedDisk::Kind;
using Numbers = std::vector<std::uint64_t>;

class OpenRegionsTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kSeed = 7;

  void SetUp() override {
    file->write_at(std::vector<std::byte>(kRecords_offset), 0);
    file->sync_data();
    directory->sync();
  }

  static Numbers doubted_on(const SimulatedDisk& other) {
    const auto found = other.directory()->open(kFileName);
    Numbers doubted = OpenRegions(*found, kSeed).doubted();
    std::sort(doubted.begin(), doubted.end());
    return doubted;
  }
  // What is doubted after each of the crashes that may happen now, as sets that differ.
  std::set<Numbers> doubted_after_crashes() const {
    std::set<Numbers> all{doubted_on(disk)};  // a server that is killed loses nothing
    for (std::uint64_t seed = 0; seed < kCrashSeeds; ++seed) {
      SimulatedDisk crashed = disk.copy();
      crashed.crash(seed);
      all.insert(doubted_on(crashed));
    }
    return all;
  }
  // The regions on the list, settled or not.
  Numbers listed() const {
    std::vector<std::uint64_t> words(OpenRegions::kEntries * OpenRegions::kEntry_bytes / 8);
    file->read_at(std::as_writable_bytes(std::span(words)), kRegionList_offset);
    Numbers found;
    for (std::size_t at = 0; at < words.size(); at += OpenRegions::kEntry_bytes / 8) {
      if (words[at] > 0) found.push_back(words[at] - 1);
    }
    return found;
  }
  void change_records(std::uint64_t region, std::byte value) const {
    file->write_at(std::vector<std::byte>(kRegion_bytes, value),
                   offset_of_record({region * kBlocksPerRegion}));
  }
  void open_and_release(const OpenRegions::Regions& wanted) {
    ASSERT_TRUE(regions.open(wanted).has_value());
  }
  void settle_all() { regions.settle(regions.quiet()); }
  // Regions that are in the table and closed: quiet() names them until somebody holds them, which
  // tells a test that he is there.
  void leave_closed(const OpenRegions::Regions& wanted) {
    fail_disk_once(disk, Kind::sync);
    EXPECT_EQ(error_of([&] { (void)regions.open(wanted); }), EIO);
  }
  void wait_until_all_are_held() const {
    while (!regions.quiet().empty()) std::this_thread::yield();
  }

  SimulatedDisk disk;
  std::unique_ptr<Directory> directory = disk.directory();
  std::unique_ptr<StorageFile> file = directory->open(kFileName);
  OpenRegions regions{*file, kSeed};
};

// --- What a crash finds ---

TEST_F(OpenRegionsTest, NothingIsDoubtedAtFirst) {
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(IsEmpty()));
}

TEST_F(OpenRegionsTest, OpenRegionIsDoubtedWhateverTheCrashLoses) {
  const auto hold = regions.open({3, 2});
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(3, 4)));
}

TEST_F(OpenRegionsTest, RegionThatNobodyChangesAnyMoreIsDoubtedUntilItIsSettled) {
  open_and_release({3, 1});
  change_records(3, std::byte{1});
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(3)));
  settle_all();
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(IsEmpty()));
  EXPECT_THAT(regions.quiet(), IsEmpty());
}

TEST_F(OpenRegionsTest, SettledRegionIsDoubtedWhenItIsOpenedAgain) {
  open_and_release({3, 1});
  settle_all();
  open_and_release({3, 1});
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(3)));
}

TEST_F(OpenRegionsTest, SettledEntryWithOtherRecordsIsDoubted) {
  open_and_release({3, 1});
  settle_all();
  change_records(3, std::byte{1});
  EXPECT_THAT(doubted_on(disk), ElementsAre(3));
}

TEST_F(OpenRegionsTest, RegionIsBelievedAfterACrashWithItsLatestRecordsOnly) {
  open_and_release({3, 1});
  change_records(3, std::byte{1});
  std::size_t crashes = 0;
  disk.set_hook([&](const SimulatedDisk::Operation&) {
    for (std::uint64_t seed = 0; seed < kCrashSeeds; ++seed, ++crashes) {
      SimulatedDisk crashed = disk.copy();
      crashed.crash(seed);
      if (!doubted_on(crashed).empty()) continue;
      std::vector<std::byte> records(kRegion_bytes);
      read_padded(*crashed.directory()->open(kFileName), records,
                  offset_of_record({3 * kBlocksPerRegion}));
      EXPECT_EQ(records, std::vector<std::byte>(kRegion_bytes, std::byte{1})) << "seed " << seed;
    }
  });
  settle_all();
  disk.set_hook({});
  EXPECT_GE(crashes, 2 * kCrashSeeds);
}

TEST_F(OpenRegionsTest, ClearedListIsEmptyWhateverTheCrashLoses) {
  open_and_release({3, 1});
  regions.clear();
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(IsEmpty()));
}

TEST_F(OpenRegionsTest, DamagedEntryIsRefusedAndNamesTheFile) {
  open_and_release({3, 1});
  disk.overwrite(kFileName, kRegionList_offset + 8, std::byte{2});
  std::string message;
  EXPECT_EQ(error_of([&] { (void)doubted_on(disk); }, &message), EINVAL);
  EXPECT_THAT(message, HasSubstr(fmt::format("md5-file {} is damaged", kFileName)));
}

// With the right checksum, which anybody can compute: no file has records of such a region.
TEST_F(OpenRegionsTest, AnEntryOfARegionThatNoFileHasIsDamage) {
  for (const std::uint64_t region_plus_1 :
       {std::uint64_t{0}, std::uint64_t{1} << 49U, std::uint64_t{1} << 50U, ~std::uint64_t{0}}) {
    for (const std::uint64_t settled : {0U, 1U}) {
      std::array<std::uint64_t, 4> entry{region_plus_1, settled, 0, 0};
      const auto bytes = std::as_bytes(std::span(entry));
      entry[3] = xxh3_64(bytes.first(24), kSeed);
      file->write_at(bytes, kRegionList_offset);
      EXPECT_EQ(error_of([&] { (void)regions.doubted(); }), EINVAL) << region_plus_1;
    }
  }
}

// --- A flush, and changes beside it ---

TEST_F(OpenRegionsTest, ChangeUnderWayAtTheFlushIsNotSettled) {
  const auto hold = regions.open({3, 1});
  settle_all();
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(3)));
}

TEST_F(OpenRegionsTest, ChangeThatBeginsDuringTheFlushIsNotSettled) {
  open_and_release({3, 2});
  const auto quiet = regions.quiet();
  const auto hold = regions.open({3, 1});
  regions.settle(quiet);
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(3)));
}

TEST_F(OpenRegionsTest, ChangeThatBeginsAndEndsDuringTheFlushIsNotSettled) {
  open_and_release({3, 2});
  const auto quiet = regions.quiet();
  open_and_release({3, 1});
  regions.settle(quiet);
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(3)));
}

TEST_F(OpenRegionsTest, OpenWaitsForItsRegionToBeSettled) {
  open_and_release({3, 1});
  Gate gate;
  hold_next_sync(disk, gate);
  std::thread flush([&] { settle_all(); });
  gate.wait_for_arrivals(1);
  std::atomic<bool> opened{false};
  std::thread opener([&] {
    const auto hold = regions.open({3, 1});
    opened = true;
  });
  for (unsigned turn = 0; turn < 50; ++turn) std::this_thread::yield();
  EXPECT_FALSE(opened);
  gate.open();
  flush.join();
  opener.join();
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(3)));
}

// Two clients flush at a time: to each it is said that what it has written is safe.
TEST_F(OpenRegionsTest, SettlingIsOverWhenEitherOfTwoFlushesReturns) {
  open_and_release({3, 1});
  change_records(3, std::byte{1});
  const auto quiet = regions.quiet();
  Gate gate;
  hold_next_sync(disk, gate);
  std::thread first([&] { regions.settle(quiet); });
  gate.wait_for_arrivals(1);
  std::atomic<bool> is_over{false};
  std::thread second([&] {
    regions.settle(quiet);
    is_over = true;
  });
  for (unsigned turn = 0; turn < 20000 && !is_over; ++turn) std::this_thread::yield();
  EXPECT_FALSE(is_over) << "a crash now makes it doubtful";
  gate.open();
  first.join();
  second.join();
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(IsEmpty()));
}

// --- Group commit ---

TEST_F(OpenRegionsTest, AllWhoComeDuringASyncAreServedByTheNext) {
  leave_closed({2, 3});
  Gate gate;
  std::atomic<unsigned> syncs{0};
  disk.set_hook([&](const SimulatedDisk::Operation& operation) {
    if (operation.kind == Kind::sync && ++syncs == 1) gate.pass();
  });
  std::vector<std::thread> openers;
  openers.emplace_back([&] { open_and_release({1, 1}); });
  gate.wait_for_arrivals(1);
  for (std::uint64_t region = 2; region <= 4; ++region) {
    openers.emplace_back([&, region] { open_and_release({region, 1}); });
  }
  wait_until_all_are_held();
  gate.open();
  for (std::thread& opener : openers) opener.join();
  EXPECT_EQ(syncs, 2);
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(1, 2, 3, 4)));
}

TEST_F(OpenRegionsTest, OpeningWhatIsOpenCostsNothing) {
  open_and_release({3, 2});
  disk.set_hook([](const SimulatedDisk::Operation&) { FAIL() << "the disk is used"; });
  open_and_release({3, 1});
  open_and_release({4, 1});
  disk.set_hook({});
}

// --- Failures ---

TEST_F(OpenRegionsTest, FailedSyncFailsAllWhoWaitForIt) {
  leave_closed({2, 1});
  Gate gate;
  hold_next_sync(disk, gate, ENOSPC);
  int first_code = 0;
  int second_code = 0;
  std::thread first([&] { first_code = error_of([&] { (void)regions.open({1, 1}); }); });
  gate.wait_for_arrivals(1);
  std::thread second([&] { second_code = error_of([&] { (void)regions.open({1, 2}); }); });
  wait_until_all_are_held();
  gate.open();
  first.join();
  second.join();
  EXPECT_EQ(first_code, ENOSPC);
  EXPECT_EQ(second_code, ENOSPC);
  const auto hold = regions.open({1, 2});
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(1, 2)));
}

TEST_F(OpenRegionsTest, FailedWriteOfAnEntryFailsTheOpen) {
  fail_disk_once(disk, Kind::write);
  EXPECT_EQ(error_of([&] { (void)regions.open({1, 1}); }), EIO);
  const auto hold = regions.open({1, 1});
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(1)));
}

TEST_F(OpenRegionsTest, NothingIsBelievedWhenSettlingFails) {
  for (const Kind kind : {Kind::write, Kind::sync}) {
    open_and_release({3, 1});
    change_records(3, std::byte{1});
    fail_disk_once(disk, kind);
    EXPECT_EQ(error_of([&] { settle_all(); }), EIO);
    open_and_release({3, 1});
    EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(3)));
    settle_all();
    EXPECT_THAT(doubted_after_crashes(), ElementsAre(IsEmpty()));
  }
}

TEST_F(OpenRegionsTest, FlushAfterOneThatFailedSettles) {
  open_and_release({3, 1});
  change_records(3, std::byte{1});
  fail_disk_once(disk, Kind::sync);
  EXPECT_EQ(error_of([&] { settle_all(); }), EIO);
  settle_all();
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(IsEmpty()));
}

// --- Broken invariants ---

TEST_F(OpenRegionsTest, ARegionIsReleasedOnlyWhileItIsHeld) {
  open_and_release({3, 1});
  EXPECT_BROKEN(OpenRegions::Hold(regions, {3, 1}), "holds > 0; region = 3");
}

TEST_F(OpenRegionsTest, ARegionStaysInItsStateUntilTheListIsSynced) {
  const auto change_state_at_sync = [&] {
    disk.set_hook([&](const SimulatedDisk::Operation& operation) {
      if (operation.kind != Kind::sync) return;
      (regions.*private_member(TableOfOpenRegions())).at(3).state = {};
    });
  };
  const auto open_disturbed = [&] {
    change_state_at_sync();
    open_and_release({3, 1});
  };
  const auto settle_disturbed = [&] {
    open_and_release({3, 1});
    change_state_at_sync();
    settle_all();
  };
  EXPECT_BROKEN(open_disturbed(), "state == State::opening; region = 3");
  EXPECT_BROKEN(settle_disturbed(), "region.state == State::settling; each.region = 3");
}

// --- A list that is full ---

class FullListTest : public OpenRegionsTest {
 protected:
  static constexpr std::uint64_t kMost = OpenRegions::kRegionsAtOnce_max;
};

TEST_F(FullListTest, HasRoomWhenItIsSettled) {
  {
    const auto first = regions.open({0, kMost});
    const auto second = regions.open({kMost, kMost});
    ASSERT_TRUE(first && second);
    EXPECT_FALSE(regions.open({5000, 1}).has_value());
    settle_all();
    EXPECT_FALSE(regions.open({5000, 1}).has_value());
  }
  EXPECT_FALSE(regions.open({5000, 1}).has_value());
  EXPECT_TRUE(regions.open({7, 1}).has_value());  // it is on it
  settle_all();
  EXPECT_TRUE(regions.open({5000, kMost}).has_value());
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(SizeIs(kMost)));
}

TEST_F(FullListTest, LongestSettledGoesFirst) {
  for (const OpenRegions::Regions& next : std::initializer_list<OpenRegions::Regions>{
           {600, 1}, {601, 1}, {0, kMost}, {kMost, 88}, {602, 422}}) {
    open_and_release(next);
    settle_all();
  }
  EXPECT_THAT(listed(), SizeIs(OpenRegions::kEntries));
  open_and_release({5000, 1});
  EXPECT_THAT(listed(), Not(Contains(600)));
  EXPECT_THAT(listed(), AllOf(Contains(601), Contains(5000), SizeIs(OpenRegions::kEntries)));
  // Now 601 is the oldest, and asked for itself: another one goes.
  open_and_release({600, 2});
  EXPECT_THAT(listed(), AllOf(Contains(600), Contains(601), SizeIs(OpenRegions::kEntries)));
  EXPECT_THAT(doubted_after_crashes(), ElementsAre(ElementsAre(600, 601, 5000)));
}

TEST_F(FullListTest, WhoWaitsGoesOnWhenAChangeEnds) {
  regions.wait_for_release();  // nobody holds any
  auto hold = regions.open({1, 1});
  std::atomic<bool> is_over{false};
  std::thread waiting([&] {
    regions.wait_for_release();
    is_over = true;
  });
  for (unsigned turn = 0; turn < 50; ++turn) std::this_thread::yield();
  EXPECT_FALSE(is_over);
  // It may come to wait after this one has ended: then it is told of none.
  hold.reset();
  waiting.join();
}

}  // namespace
}  // namespace nbdstack::testing
