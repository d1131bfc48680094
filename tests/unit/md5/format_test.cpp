// The bytes of an md5-file: docs/formats/md5-file.md describes them, and tests/vectors/md5-file
// holds them. Today's filter writes exactly these bytes for a fixed life, and it reads them as what
// they were. A vector is never changed: a filter that writes something else has another format, and
// has to go on reading this one.
#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/fakes/golden.hpp"
#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::int64_t kWritten_s = 1767225600;  // 2026-01-01T00:00:00Z

Md5FileIdentity identity() {
  return {.export_name = "disk one",
          .block_size = 65536,
          .uuid = "00112233445566778899aabbccddeeff",
          .disk_id = "nbdstack-s3:0f1e2d3c4b5a69788796a5b4c3d2e1f0",
          .term = 1234567890123,
          .generation = 2};
}

Md5FileIdentity first_version() {
  return {.export_name = "disk one",
          .block_size = 65536,
          .uuid = "00112233445566778899aabbccddeeff",
          .disk_id = "",
          .term = std::nullopt};
}

Content content(int value, std::uint32_t length = 65536) {
  Content made{.digest = {}, .length = length};
  made.digest.fill(static_cast<std::byte>(value));
  return made;
}

std::uint64_t seed() {
  const std::string uuid = identity().uuid;
  return xxh3_64(std::as_bytes(std::span(uuid)), 0);
}

class Md5FileFormatTest : public ::testing::Test {
 protected:
  void make() {
    file_ = disk_.directory()->open(kFileName);
    write_new_identity(*file_, identity());
    digests_ = std::make_unique<Md5File>(file_, identity());
  }
  void open_golden(const std::string& name) {
    digests_.reset();
    disk_.replace(kFileName, golden(name));
    file_ = disk_.directory()->open(kFileName);
    const auto found = Md5File::identity_of(*file_);
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, identity());
    digests_ = std::make_unique<Md5File>(file_, *found);
  }
  // At the time of the vector: the record is written again as if the clock had stood there.
  void change(std::uint64_t block, const std::optional<Content>& written) {
    {
      auto change = digests_->begin({block}, digests_->load({block}, 1));
      ASSERT_TRUE(change);
      change->record(std::vector{written});
    }
    auto record = digests_->load({block}, 1).front();
    if (!record) return;
    record->written_at_s = kWritten_s;
    std::array<std::byte, kRecord_bytes> bytes{};
    encode_record(record, {block}, seed(), bytes, identity().generation);
    file_->write_at(bytes, offset_of_record({block}));
  }
  // Block 0 was written twice, block 1 once, block 2 is unknown again. Region 1 was settled, and
  // then changed.
  void live() {
    change(0, content(0x10));
    change(0, content(0x11));
    change(1, content(0x20, 4096));
    change(2, content(0x30));
    change(2, std::nullopt);
    change(300, content(0x40));
    digests_->settle(digests_->quiet());
    change(301, content(0x50));
  }
  [[nodiscard]] std::vector<std::byte> bytes() const { return disk_.content(kFileName); }
  [[nodiscard]] std::optional<Md5FileRecord> record_of(std::uint64_t block) const {
    return digests_->load({block}, 1).front();
  }

  SimulatedDisk disk_;
  std::shared_ptr<StorageFile> file_;
  std::unique_ptr<Md5File> digests_;
};

TEST_F(Md5FileFormatTest, ALifeLeavesTheBytesItAlwaysLeft) {
  make();
  live();
  expect_golden("md5-file/life.hex", bytes());
}

TEST_F(Md5FileFormatTest, AStartAfterACrashLeavesTheBytesItAlwaysLeft) {
  open_golden("md5-file/life.hex");
  expect_golden("md5-file/recovered.hex", bytes());
}

TEST_F(Md5FileFormatTest, WhatALifeLeftIsRead) {
  open_golden("md5-file/life.hex");
  EXPECT_EQ(record_of(0),
            (Md5FileRecord{
                .content = content(0x11), .previous = content(0x10), .written_at_s = kWritten_s}));
  EXPECT_EQ(record_of(1), (Md5FileRecord{.content = content(0x20, 4096),
                                         .previous = std::nullopt,
                                         .written_at_s = kWritten_s}));
  EXPECT_EQ(record_of(2), std::nullopt);
  EXPECT_EQ(record_of(300), (Md5FileRecord{.content = content(0x40),
                                           .previous = std::nullopt,
                                           .written_at_s = kWritten_s,
                                           .doubtful = true}));
  EXPECT_TRUE(record_of(301)->doubtful);
}

TEST_F(Md5FileFormatTest, AnIdentityWithoutADiskIsOfTheFirstVersion) {
  file_ = disk_.directory()->open(kFileName);
  write_new_identity(*file_, first_version());
  expect_golden("md5-file/version-1.hex", bytes());
  EXPECT_EQ(read_identity(*file_), first_version());
}

TEST_F(Md5FileFormatTest, AnIdentityIsReplacedByItsTwoCopies) {
  make();
  Md5FileIdentity next = identity();
  next.generation = 3;
  replace_identity(*file_, next);
  EXPECT_EQ(read_identity(*file_), next);
  const auto before = golden("md5-file/life.hex");
  const auto after = bytes();
  const std::size_t half = kIdentity_bytes / 2;
  EXPECT_EQ(std::vector(after.begin(), after.begin() + half),
            std::vector(after.begin() + half, after.begin() + kIdentity_bytes));
  EXPECT_NE(std::vector(after.begin(), after.begin() + half),
            std::vector(before.begin(), before.begin() + half));
}

// The control: each field has its place in the bytes.
TEST_F(Md5FileFormatTest, AFieldThatChangesChangesTheBytes) {
  const std::vector<std::byte> life = golden("md5-file/life.hex");
  const auto there = std::span(life).subspan(kRecords_offset, kRecord_bytes);
  const Md5FileRecord record{
      .content = content(0x11), .previous = content(0x10), .written_at_s = kWritten_s};
  const auto difference = [&](const Md5FileRecord& changed, std::uint64_t block = 0,
                              std::uint64_t seed_changed = 0, std::uint32_t generation = 2) {
    std::array<std::byte, kRecord_bytes> bytes{};
    encode_record(changed, {block}, seed() + seed_changed, bytes, generation);
    return first_difference(there, bytes);
  };
  EXPECT_EQ(difference(record), "");
  const std::vector<std::function<void(Md5FileRecord&)>> changes{
      [](Md5FileRecord& each) { each.content.digest[15] = std::byte{0}; },
      [](Md5FileRecord& each) { ++each.content.length; },
      [](Md5FileRecord& each) { each.previous->digest[0] = std::byte{0}; },
      [](Md5FileRecord& each) { ++each.previous->length; },
      [](Md5FileRecord& each) { ++each.written_at_s; },
      [](Md5FileRecord& each) { each.doubtful = true; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Md5FileRecord changed = record;
    changes[i](changed);
    EXPECT_NE(difference(changed), "") << "change " << i;
  }
  EXPECT_NE(difference(record, 1), "") << "another block";
  EXPECT_NE(difference(record, 0, 1), "") << "another file";
  EXPECT_NE(difference(record, 0, 0, 3), "") << "another generation";
}

}  // namespace
}  // namespace nbdstack::testing
