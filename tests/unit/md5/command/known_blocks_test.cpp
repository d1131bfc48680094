// What a pass learns from the md5-file, and which files it refuses.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include "common/io/file.hpp"
#include "filters/md5/command/readonly_file.hpp"
#include "tests/unit/md5/command/verify_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

class KnownBlocksTest : public VerifyTest {
 protected:
  // What a copy of the disk of this size is told of.
  [[nodiscard]] std::vector<std::uint64_t> known_of(std::uint64_t size_bytes) {
    const auto file = disk.directory()->open(kFileName);
    KnownBlocks known(*file, size_bytes, clock, next_data);
    std::vector<std::uint64_t> blocks;
    for (auto step = known.next(); !step.empty(); step = known.next()) {
      for (const KnownBlock& each : step) blocks.push_back(each.block.value);
    }
    EXPECT_EQ(known.percent_done(), 100);
    return blocks;
  }
  [[nodiscard]] std::string refusal_of(std::uint64_t size_bytes) {
    std::string message;
    EXPECT_EQ(error_of([&] { (void)known_of(size_bytes); }, &message), EINVAL);
    return message;
  }
  static Md5FileRecord some_record() {
    return {.content = {md5(pattern(1, 1)), kBlock}, .previous = std::nullopt};
  }
  void put(std::uint64_t block) const { put_record(disk, {block}, some_record()); }
  // The bytes of a record of this block, of this file.
  [[nodiscard]] std::vector<std::byte> record_bytes(std::uint64_t block) const {
    const auto identity = Md5File::identity_of(*disk.directory()->open(kFileName));
    std::vector<std::byte> bytes(kRecord_bytes);
    encode_record(some_record(), {block}, xxh3_64(std::as_bytes(std::span(identity->uuid)), 0),
                  std::span(bytes).first<kRecord_bytes>());
    return bytes;
  }
};

// In the folder for such files, until the test ends.
class TemporaryFile {
 public:
  TemporaryFile() : path_(::testing::TempDir() + "/nbdstack-md5-verify-XXXXXX") {
    file_ = File(::mkstemp(path_.data()), path_);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }
  void write(const std::vector<std::byte>& bytes, std::uint64_t offset) const {
    file_.write_at(bytes, offset);
  }

 private:
  std::string path_;
  File file_;
};

TEST_F(KnownBlocksTest, GrownDiskHasAnotherLastBlock) {
  write(pattern(kDiskSize, 1), 0);
  flush();
  EXPECT_THAT(known_of(kDiskSize), SizeIs(kBlocks + 1));
  EXPECT_THAT(known_of(kDiskSize + 1), SizeIs(kBlocks));
  EXPECT_THAT(known_of(100 * kDiskSize), SizeIs(kBlocks));
}

TEST_F(KnownBlocksTest, LookSaysNothingOfABlockOfAnotherLength) {
  write(pattern(kDiskSize, 1), 0);
  const auto file = disk.directory()->open(kFileName);
  KnownBlocks same(*file, kDiskSize, clock, next_data);
  KnownBlocks grown(*file, kDiskSize + 1, clock, next_data);
  EXPECT_TRUE(same.look({kBlocks}).has_value());
  EXPECT_FALSE(grown.look({kBlocks}).has_value());
  EXPECT_TRUE(grown.look({kBlocks - 1}).has_value());
}

TEST_F(KnownBlocksTest, CopyThatWasCutShortIsRefused) {
  write_block(9, 1);
  flush();
  EXPECT_THAT(known_of(10 * kBlock), ElementsAre(9));
  EXPECT_THAT(known_of(10 * kBlock - 1), IsEmpty());
  EXPECT_THAT(refusal_of(9 * kBlock),
              AllOf(HasSubstr("block 9 "), HasSubstr("36864 bytes"),
                    HasSubstr("truncate --size=" + std::to_string(offset_of_record({9})))));
}

TEST_F(KnownBlocksTest, FileThatIsNewOrNoneIsRefused) {
  kill();
  disk.directory()->remove(kFileName);
  EXPECT_THAT(refusal_of(kDiskSize), HasSubstr("no md5-file yet"));
  const auto file = disk.directory()->open(kFileName);
  file->write_at(pattern(100000, 1), 0);
  EXPECT_THAT(refusal_of(kDiskSize), HasSubstr("not an md5-file"));
}

// A sparse file of 64 GiB, which nobody reads from end to end.
TEST_F(KnownBlocksTest, HolesAreSkipped) {
  const TemporaryFile sparse;
  const std::uint64_t far = std::uint64_t{1} << 30U;
  sparse.write(disk.content(kFileName), 0);
  sparse.write(record_bytes(far), offset_of_record({far}));
  ReadOnlyFile file(sparse.path());
  unsigned looks = 0;
  KnownBlocks known(file, (far + 2) * kBlock, clock, [&](std::uint64_t offset) {
    ++looks;
    return file.next_data(offset);
  });
  const auto step = known.next();
  ASSERT_THAT(step, SizeIs(1));
  EXPECT_EQ(step[0].block, BlockNumber{far});
  EXPECT_THAT(known.next(), IsEmpty());
  EXPECT_THAT(looks, Le(4U));
}

// What is behind the end is found there, too.
TEST_F(KnownBlocksTest, HolesBehindTheEndAreSkipped) {
  const TemporaryFile sparse;
  const std::uint64_t far = std::uint64_t{1} << 30U;
  sparse.write(disk.content(kFileName), 0);
  sparse.write(record_bytes(far), offset_of_record({far}));
  ReadOnlyFile file(sparse.path());
  std::string message;
  const auto open = [&] {
    KnownBlocks known(file, kDiskSize, clock,
                      [&](std::uint64_t offset) { return file.next_data(offset); });
  };
  EXPECT_EQ(error_of(open, &message), EINVAL);
  EXPECT_THAT(message, HasSubstr("block 1073741824 "));
}

// --- What is to be doubted ---

TEST_F(KnownBlocksTest, ListIsLookedAtAgainAfterASecond) {
  stop();
  const auto digests = open_digests(disk);
  put(1);
  const auto first = digests->begin({2}, digests->load({2}, 1));
  put(20000);
  const auto file = disk.directory()->open(kFileName);
  KnownBlocks known(*file, 30000 * kBlock, clock, next_data);
  EXPECT_TRUE(known.next().at(0).record.doubtful);
  const auto second = digests->begin({20000}, digests->load({20000}, 1));
  EXPECT_TRUE(known.is_on_list({20000}));
  EXPECT_FALSE(known.is_on_list({10000}));
  put(20000);
  clock.advance(std::chrono::seconds(1));
  EXPECT_TRUE(known.next().at(0).record.doubtful);
}

TEST_F(KnownBlocksTest, FlushEndsTheDoubt) {
  write_block(1, 1);
  flush();
  const auto file = disk.directory()->open(kFileName);
  KnownBlocks known(*file, kDiskSize, clock, next_data);
  EXPECT_FALSE(known.is_on_list({1}));
  EXPECT_FALSE(known.next().at(0).record.doubtful);
}

// A server that is just writing it.
TEST_F(KnownBlocksTest, TornEntryOfTheListIsReadAgain) {
  write_block(1, 1);
  const std::byte right = disk.content(kFileName)[kRegionList_offset];
  const auto tear = [&] { disk.overwrite(kFileName, kRegionList_offset, right ^ std::byte{1}); };
  tear();
  unsigned reads = 0;
  after_look->set([&](const Range& range) {
    if (range.offset == kRegionList_offset && ++reads == 3) {
      disk.overwrite(kFileName, kRegionList_offset, right);
    }
  });
  WatchedFile file(disk.directory()->open(kFileName), after_look);
  KnownBlocks known(file, kDiskSize, clock, next_data);
  EXPECT_TRUE(known.is_on_list({1}));
  EXPECT_EQ(reads, 4U);
  after_look->set({});
  tear();
  EXPECT_EQ(error_of([&] { (void)known.is_on_list({1}); }), EINVAL);
}

// --- ReadOnlyFile ---

TEST(ReadOnlyFileTest, IsNeverChanged) {
  const TemporaryFile made;
  made.write(pattern(100, 1), 0);
  ReadOnlyFile file(made.path());
  EXPECT_EQ(file.size_bytes(), 100U);
  EXPECT_EQ(error_of([&] { file.write_at(pattern(1, 2), 0); }), EBADF);
  EXPECT_EQ(error_of([&] { file.punch_hole(1, 0); }), EBADF);
  EXPECT_EQ(error_of([&] { file.sync_data(); }), EBADF);
  Bytes data(100);
  file.read_at(data, 0);
  EXPECT_EQ(data, pattern(100, 1));
  EXPECT_EQ(file.next_data(50), 50U);
  EXPECT_EQ(file.next_data(100), 100U);
  EXPECT_EQ(file.next_data(5000), 5000U);
}

TEST(ReadOnlyFileTest, IsNotMade) {
  const TemporaryFile made;
  const std::string path = made.path() + "-not-there";
  EXPECT_EQ(error_of([&] { const ReadOnlyFile file(path); }), ENOENT);
  EXPECT_EQ(error_of([&] { const ReadOnlyFile file(path); }), ENOENT);
}

}  // namespace
}  // namespace nbdstack::testing
