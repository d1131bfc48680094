// The md5-file by itself: records, recovery, and a disk that fails.
#include <gmock/gmock.h>

#include <limits>

#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = SimulatedDisk::Kind;

Content content_of(unsigned seed, std::uint32_t length = kBlock) {
  return {md5(pattern(length, seed)), length};
}

class Md5FileTest : public ::testing::Test {
 protected:
  void TearDown() override { disk.set_hook({}); }

  void reopen() { file = open_digests(disk); }
  void change(std::uint64_t block, const std::vector<std::optional<Content>>& contents) const {
    auto begun = file->begin({block}, file->load({block}, contents.size()));
    ASSERT_TRUE(begun.has_value());
    begun->record(contents);
  }
  void flush() const { file->settle(file->quiet()); }
  [[nodiscard]] std::optional<Md5FileRecord> record_of(std::uint64_t block) const {
    return file->load({block}, 1).front();
  }
  // The content alone; nothing: unknown.
  [[nodiscard]] std::optional<Content> known(std::uint64_t block) const {
    const auto record = record_of(block);
    return record ? std::optional(record->content) : std::nullopt;
  }
  [[nodiscard]] bool is_doubtful(std::uint64_t block) const {
    const auto record = record_of(block);
    return record && record->doubtful;
  }
  // As `seed` has it; 0: killed.
  [[nodiscard]] std::unique_ptr<Md5File> after_crash(std::uint64_t seed) {
    crashed = disk.copy();
    if (seed > 0) crashed.crash(seed);
    return open_digests(crashed);
  }

  SimulatedDisk disk;
  SimulatedDisk crashed;
  std::unique_ptr<Md5File> file = open_digests(disk);
};

// --- Records ---

TEST_F(Md5FileTest, RecordsSurviveReopening) {
  change(3, {content_of(1), std::nullopt, content_of(2, 1000)});
  flush();
  reopen();
  EXPECT_EQ(known(2), std::nullopt);
  EXPECT_EQ(known(3), content_of(1));
  EXPECT_EQ(known(4), std::nullopt);
  EXPECT_EQ(known(5), content_of(2, 1000));
  EXPECT_FALSE(is_doubtful(3));
  EXPECT_GT(record_of(3)->written_at_s, 0);
}

TEST_F(Md5FileTest, RecordNamesWhatWasThereBefore) {
  change(3, {content_of(1)});
  EXPECT_EQ(record_of(3)->previous, std::nullopt);
  change(3, {content_of(2)});
  EXPECT_EQ(record_of(3)->previous, content_of(1));
  change(3, {content_of(2)});
  EXPECT_EQ(record_of(3)->previous, content_of(1)) << "it held the same already";
}

TEST_F(Md5FileTest, BlocksAreUnknownWhileTheyAreChanged) {
  change(3, {content_of(1), content_of(2)});
  const auto before = file->load({3}, 1);
  const auto begun = file->begin({3}, before);
  EXPECT_EQ(known(3), std::nullopt);
  EXPECT_EQ(known(4), content_of(2));
  ASSERT_THAT(before, SizeIs(1));
  EXPECT_EQ(before.front()->content, content_of(1));
}

TEST_F(Md5FileTest, RecordInAnotherPlaceIsNone) {
  change(3, {content_of(1)});
  const auto raw = disk.directory()->open(kFileName);
  std::vector<std::byte> bytes(kRecord_bytes);
  raw->read_at(bytes, offset_of_record({3}));
  raw->write_at(bytes, offset_of_record({4}));
  const LoggedErrors errors;
  EXPECT_EQ(known(4), std::nullopt);
  EXPECT_EQ(known(3), content_of(1));
}

TEST_F(Md5FileTest, DamagedRecordIsUnknownAndThatIsSaidOnce) {
  change(3, {content_of(1), content_of(2), content_of(3)});
  disk.overwrite(kFileName, offset_of_record({3}) + 5, std::byte{0x77});
  disk.overwrite(kFileName, offset_of_record({5}) + 48, std::byte{9});
  const LoggedErrors errors;
  EXPECT_EQ(known(3), std::nullopt);
  EXPECT_EQ(known(5), std::nullopt);
  EXPECT_EQ(known(4), content_of(2));
  EXPECT_THAT(errors.lines(), ElementsAre(AllOf(HasSubstr("block 3"), HasSubstr(kFileName))));
  change(3, {content_of(4)});
  EXPECT_EQ(known(3), content_of(4));
}

TEST_F(Md5FileTest, HighestBlockOfTheLargestDiskIsUnknown) {
  const std::uint64_t last = (std::numeric_limits<std::int64_t>::max() - 1) / 512;
  EXPECT_EQ(known(last), std::nullopt);
  EXPECT_TRUE(file->begin({last}, file->load({last}, 1)).has_value());
  EXPECT_TRUE(file->forget({0}, last + 1));
}

TEST_F(Md5FileTest, ReadersOfTheFileNeedNoServer) {
  change(3, {content_of(1)});
  const auto other = disk.directory()->open(kFileName);
  const auto records = Md5File::read_records(*other, file->identity(), {2}, 2);
  EXPECT_EQ(records[0], std::nullopt);
  EXPECT_EQ(records[1], record_of(3));
}

// --- What a crash makes of records ---

TEST_F(Md5FileTest, UnsettledRecordsAreDoubtfulAfterACrash) {
  change(3, {content_of(1)});
  change(300, {content_of(2)});
  flush();
  change(4, {content_of(3)});
  for (std::uint64_t seed = 0; seed < kCrashSeeds; ++seed) {
    const auto found = after_crash(seed)->load({0}, 301);
    ASSERT_TRUE(found[3].has_value());
    EXPECT_TRUE(found[3]->doubtful) << "a neighbour was being changed";
    EXPECT_EQ(found[3]->content, content_of(1));
    EXPECT_TRUE(!found[4] || found[4]->doubtful);
    ASSERT_TRUE(found[300].has_value());
    EXPECT_FALSE(found[300]->doubtful);
  }
}

TEST_F(Md5FileTest, SettledRecordsAreBelievedAfterACrash) {
  change(3, {content_of(1)});
  flush();
  for (std::uint64_t seed = 0; seed < kCrashSeeds; ++seed) {
    const auto found = after_crash(seed)->load({3}, 1).front();
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->content, content_of(1));
    EXPECT_FALSE(found->doubtful);
  }
}

TEST_F(Md5FileTest, DoubtLastsOverRestartsUntilTheBlockIsWritten) {
  change(3, {content_of(1), content_of(2)});
  reopen();
  flush();
  reopen();
  EXPECT_TRUE(is_doubtful(3));
  change(3, {content_of(1)});
  flush();
  reopen();
  EXPECT_FALSE(is_doubtful(3));
  EXPECT_TRUE(is_doubtful(4));
}

TEST_F(Md5FileTest, RecoveryThatCrashesIsMadeAgain) {
  change(3, {content_of(1)});
  std::size_t crashes = 0;
  SimulatedDisk recovering = disk.copy();
  recovering.set_hook([&](const SimulatedDisk::Operation&) {
    for (std::uint64_t seed = 0; seed < kCrashSeeds; ++seed, ++crashes) {
      SimulatedDisk again = recovering.copy();
      again.crash(seed);
      const auto found = open_digests(again)->load({3}, 1).front();
      EXPECT_TRUE(!found || found->doubtful) << "seed " << seed;
    }
  });
  open_digests(recovering);
  recovering.set_hook({});
  EXPECT_GE(crashes, 4 * kCrashSeeds);
}

TEST_F(Md5FileTest, RecoveryThatFailsIsAnError) {
  change(3, {content_of(1)});
  for (const Kind kind : {Kind::write, Kind::sync}) {
    fail_disk_once(disk, kind);
    EXPECT_EQ(error_of([&] { reopen(); }), EIO);
  }
  reopen();
  EXPECT_TRUE(is_doubtful(3));
}

// --- Forgetting ---

TEST_F(Md5FileTest, ForgetsExactlyTheBlocksItIsTold) {
  const std::vector<std::optional<Content>> contents(1000, content_of(1));
  change(0, contents);
  EXPECT_TRUE(file->forget({10}, 900));
  const auto found = file->load({0}, 1000);
  for (std::uint64_t block = 0; block < 1000; ++block) {
    EXPECT_EQ(found[block].has_value(), block < 10 || block >= 910) << block;
  }
}

TEST_F(Md5FileTest, WhatWasForgottenStaysForgottenWhateverTheCrashLoses) {
  change(0, std::vector<std::optional<Content>>(1000, content_of(1)));
  flush();
  EXPECT_TRUE(file->forget({10}, 900));
  for (std::uint64_t seed = 0; seed < kCrashSeeds; ++seed) {
    const auto found = after_crash(seed)->load({0}, 1000);
    for (std::uint64_t block = 10; block < 910; ++block) ASSERT_FALSE(found[block]) << block;
    EXPECT_TRUE(found[5].has_value());
    EXPECT_TRUE(found[950].has_value());
  }
}

TEST_F(Md5FileTest, ForgetOfHugeRangeTouchesWhatThereIs) {
  change(3, {content_of(1)});
  const std::size_t size = disk.content(kFileName).size();
  EXPECT_TRUE(file->forget({4}, std::uint64_t{1} << 53U));
  EXPECT_EQ(disk.content(kFileName).size(), size);
  EXPECT_EQ(known(3), content_of(1));
  EXPECT_TRUE(file->forget({0}, std::uint64_t{1} << 53U));
  EXPECT_EQ(known(3), std::nullopt);
}

TEST_F(Md5FileTest, ForgettingThatFailsIsAnError) {
  change(3, {content_of(1)});
  for (const Kind kind : {Kind::punch, Kind::sync}) {
    flush();
    fail_disk_once(disk, kind);
    EXPECT_EQ(error_of([&] { (void)file->forget({0}, 100); }), EIO);
  }
}

TEST_F(Md5FileTest, TooMuchChangedAsksForAFlush) {
  for (std::uint64_t region = 0; region < OpenRegions::kEntries; ++region) {
    change(region * kBlocksPerRegion, {content_of(1)});
  }
  const std::uint64_t more = OpenRegions::kEntries * kBlocksPerRegion;
  EXPECT_FALSE(file->begin({more}, file->load({more}, 1)).has_value());
  EXPECT_FALSE(file->forget({more}, 1));
  EXPECT_FALSE(file->forget({0}, more + 1)) << "its head has a place, its tail has none";
  EXPECT_EQ(known(0), content_of(1));
  flush();
  EXPECT_TRUE(file->forget({more}, 1));
  EXPECT_TRUE(file->begin({more}, file->load({more}, Md5File::kChange_blocks_max)).has_value());
}

// --- A disk that is full or fails ---

TEST_F(Md5FileTest, WhatCannotBeRecordedIsUnknownAndThatIsSaidOnce) {
  change(3, {content_of(1)});
  const LoggedErrors errors;
  for (unsigned turn = 0; turn < 2; ++turn) {
    auto begun = file->begin({3}, file->load({3}, 1));
    fail_disk(disk, Kind::write, ENOSPC);
    begun->record(std::vector<std::optional<Content>>{content_of(2)});
    disk.set_hook({});
    EXPECT_EQ(known(3), std::nullopt);
  }
  EXPECT_THAT(errors.lines(), ElementsAre(HasSubstr("not remembered until this is mended")));
  change(3, {content_of(3)});
  EXPECT_EQ(known(3), content_of(3));
  EXPECT_THAT(errors.lines(), SizeIs(1));
  auto begun = file->begin({3}, file->load({3}, 1));
  fail_disk(disk, Kind::write, ENOSPC);
  begun->record(std::vector<std::optional<Content>>{content_of(2)});
  EXPECT_THAT(errors.lines(), SizeIs(1)) << "it is the same failure: it ended a moment ago";
}

// A trim of blocks of which nothing is known has nothing to say: the file must not grow by it.
TEST_F(Md5FileTest, NothingIsWrittenWhereNothingIsKnown) {
  change(3, {content_of(1)});
  const std::size_t size = disk.content(kFileName).size();
  const LoggedErrors errors;
  auto begun = file->begin({1000}, file->load({1000}, 50));
  fail_disk(disk, Kind::write, ENOSPC);
  begun->record(std::vector<std::optional<Content>>(50));
  EXPECT_THAT(errors.lines(), IsEmpty());
  EXPECT_EQ(disk.content(kFileName).size(), size);
}

TEST_F(Md5FileTest, OldRecordThatCannotBeMadeUnknownFailsTheChange) {
  change(3, {content_of(1)});
  fail_disk(disk, Kind::write, EIO);
  std::string message;
  EXPECT_EQ(error_of([&] { (void)file->begin({3}, file->load({3}, 1)); }, &message), EIO);
  EXPECT_THAT(message, HasSubstr("an old digest must not stay"));
  disk.set_hook({});
  EXPECT_EQ(known(3), content_of(1));
  change(3, {content_of(2)});
  EXPECT_EQ(known(3), content_of(2));
}

TEST_F(Md5FileTest, RegionThatCannotBeOpenedFailsTheChange) {
  fail_disk(disk, Kind::sync, EIO);
  EXPECT_EQ(error_of([&] { (void)file->begin({3}, file->load({3}, 1)); }), EIO);
  disk.set_hook({});
  change(3, {content_of(1)});
  EXPECT_EQ(known(3), content_of(1));
}

}  // namespace
}  // namespace nbdstack::testing
