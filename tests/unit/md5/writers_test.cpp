// Digests when this server may not be the disk's only writer any more; and when a file becomes a
// disk's.
#include <gmock/gmock.h>

#include "filters/md5/md5_layer.hpp"
#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::IsEmpty;

DiskIdentity told(WriteRight right, const WriterTerm& term) {
  DiskIdentity identity;
  identity.id = "x";
  identity.size_bytes = kDiskSize;
  identity.term = term;
  identity.right = right;
  return identity;
}

class Md5WritersTest : public Md5Test {
 protected:
  void SetUp() override {
    below.set_identity(told(WriteRight::held, {3, 3}));
    shared = std::make_shared<Md5Export>(Md5Options{.retry_time = Duration::zero()}, kBlock, clock,
                                         nullptr, below.identity());
    layer = std::make_unique<Md5Layer>(below, shared);
  }
  void another_writes(std::uint64_t block) { below.fill({block * kBlock, kBlock}, std::byte{9}); }
};

TEST_F(Md5WritersTest, WhatAnotherWroteIsNotAccused) {
  for (const WriteRight right : {WriteRight::doubtful, WriteRight::lost}) {
    below.set_identity(told(WriteRight::held, {3, 3}));
    write_block(1, 1);
    another_writes(1);
    EXPECT_EQ(error_of([&] { read_block(1); }), EIO);
    below.set_identity(told(right, {3, 3}));
    EXPECT_EQ(read_block(1), Bytes(kBlock, std::byte{9}));
  }
}

TEST_F(Md5WritersTest, TheRightIsLostWhileABlockIsReadAgain) {
  write_block(1, 1);
  another_writes(1);
  below.on_call([&](const Call& call) {
    if (call.op == Op::pread) below.set_identity(told(WriteRight::lost, {3, 3}));
  });
  EXPECT_EQ(read_block(1), Bytes(kBlock, std::byte{9}));
}

TEST_F(Md5WritersTest, DigestsAreGoodAgainWhenTheRightIsBackAndNobodyWrote) {
  write_block(1, 1);
  below.set_identity(told(WriteRight::doubtful, {3, 3}));
  static_cast<void>(read_block(1));
  below.set_identity(told(WriteRight::held, {3, 3}));
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read_block(1); }), EIO);
}

TEST_F(Md5WritersTest, DigestsOfAnEarlierTermAreForgotten) {
  write_block(1, 1);
  another_writes(1);
  below.set_identity(told(WriteRight::held, {6, 5}));
  EXPECT_EQ(read_block(1), Bytes(kBlock, std::byte{9}));
}

// A part is not merged into a block that may be somebody else's by now.
TEST_F(Md5WritersTest, PartsAreWrittenAsTheyAreWithoutTheRight) {
  write_block(1, 1);
  below.set_identity(told(WriteRight::doubtful, {3, 3}));
  below.forget_calls();
  write(Bytes(100), kBlock);
  EXPECT_EQ(below.calls(Op::pwrite).back().range, (Range{kBlock, 100}));
  EXPECT_THAT(below.calls(Op::pread), IsEmpty());
}

class Md5FileWritersTest : public Md5FileTest {
 protected:
  void SetUp() override {}

  void serve(std::unique_ptr<Md5File> file) {
    below.set_identity(told(WriteRight::held, {3, 3}));
    shared = std::make_shared<Md5Export>(Md5Options{.retry_time = Duration::zero()}, kBlock, clock,
                                         std::move(file), below.identity());
    layer = std::make_unique<Md5Layer>(below, shared);
  }
};

TEST_F(Md5FileWritersTest, AllDigestsAreDoubtfulAfterOthersWrote) {
  serve(open_digests(disk));
  const Bytes first = write_block(1, 1);
  write_block(2, 2);
  layer->flush();
  below.set_identity(told(WriteRight::held, {6, 5}));
  below.fill({2 * kBlock, kBlock}, std::byte{9});
  EXPECT_EQ(read_block(1), first);
  EXPECT_EQ(read_block(2), Bytes(kBlock, std::byte{9}));
  EXPECT_TRUE(record_of(1)->doubtful);
  write_block(3, 3);
  EXPECT_FALSE(record_of(3)->doubtful);
  EXPECT_EQ(read_block(1), first);  // and is confirmed, now that the file says of which term it is
  EXPECT_FALSE(record_of(1)->doubtful);
  stop();
  const auto identity = *Md5File::identity_of(*disk.directory()->open(kFileName));
  EXPECT_EQ(identity.generation, 1U);
  EXPECT_EQ(identity.term, 6U);
  start();
  EXPECT_TRUE(is_verified(3));
}

// A client that only looks, perhaps under a mistyped name, does not take the file for itself.
TEST_F(Md5FileWritersTest, ANewFileBecomesADisksWithTheFirstChange) {
  const auto directory = disk.directory();
  const std::shared_ptr<StorageFile> file = directory->open(kFileName);
  Md5FileIdentity identity;
  identity.block_size = kBlock;
  identity.uuid = "1";
  identity.disk_id = "x";
  std::size_t stored = 0;
  serve(Md5File::make_new(file, identity, [&](const Md5FileIdentity& wanted) {
    ++stored;
    write_new_identity(*file, wanted);
  }));
  static_cast<void>(read_block(1));
  layer->flush();
  EXPECT_EQ(file->size_bytes(), 0U);
  const Bytes data = write_block(1, 1);
  EXPECT_EQ(read_block(1), data);
  write_block(2, 2);
  EXPECT_EQ(stored, 1U);
  EXPECT_EQ(Md5File::identity_of(*file), identity);
  EXPECT_TRUE(is_verified(1));
}

TEST_F(Md5FileWritersTest, AChangeFailsWhereTheFileCannotBecomeTheDisks) {
  const std::shared_ptr<StorageFile> file = disk.directory()->open(kFileName);
  Md5FileIdentity identity;
  identity.block_size = kBlock;
  bool refuses = true;
  serve(Md5File::make_new(file, identity, [&](const Md5FileIdentity& wanted) {
    if (refuses) throw Error(EINVAL, "another disk's");
    write_new_identity(*file, wanted);
  }));
  below.forget_calls();
  EXPECT_EQ(error_of([&] { write_block(1, 1); }), EINVAL);
  EXPECT_THAT(below.calls(Op::pwrite), IsEmpty());
  refuses = false;
  write_block(1, 1);
  EXPECT_TRUE(is_verified(1));
}

}  // namespace
}  // namespace nbdstack::testing
