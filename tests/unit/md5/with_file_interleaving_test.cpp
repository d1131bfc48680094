// Md5Layer with an md5-file: what may pass while a change is under way.
#include <gmock/gmock.h>

#include <atomic>
#include <random>
#include <thread>

#include "tests/unit/fakes/sizes.hpp"
#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kRegion = kBlocksPerRegion * kBlock;

class FileInterleavingTest : public Md5FileTest {
 protected:
  void hold_next(Op op, Gate& gate, int failure = 0) {
    below.on_call([this, op, &gate, failure](const Call& call) {
      if (call.op != op) return;
      below.on_call(nullptr);
      gate.pass();
      if (failure != 0) throw Error(failure, "told to fail");
    });
  }
};

TEST_F(FileInterleavingTest, ReadDuringAWriteFindsTheOldOrTheNew) {
  const Bytes old = write_block(2, 1);
  Gate gate;
  hold_next(Op::pwrite, gate);
  std::thread writer([&] { write_block(2, 2); });
  gate.wait_for_arrivals(1);
  EXPECT_EQ(read_block(2), old);
  below.pwrite(pattern(kBlock, 2), 2 * kBlock, Durability::on_flush);
  EXPECT_EQ(read_block(2), pattern(kBlock, 2));
  gate.open();
  writer.join();
}

TEST_F(FileInterleavingTest, ReadThatFoundTheOldDataIsRightWhenAWritePasses) {
  const Bytes old = write_block(2, 1);
  bool written = false;
  below.on_read_result([&](std::span<std::byte>, std::uint64_t) {
    below.on_read_result(nullptr);
    write_block(2, 2);
    written = true;
  });
  const Bytes found = read_block(2);
  EXPECT_TRUE(written);
  EXPECT_TRUE(found == old || found == pattern(kBlock, 2));
}

// The record says "unknown" while the block is written; when the table is looked at the write is
// over and has left it. What was known before and is known after is verified.
TEST_F(FileInterleavingTest, ReadThatBeganDuringAWriteIsVerifiedWhenTheWriteHasEnded) {
  write_block(2, 1);
  Gate gate;
  hold_next(Op::pwrite, gate);
  std::thread writer([&] { write_block(2, 2); });
  gate.wait_for_arrivals(1);
  after_file_read->set([&](const Range& range) {
    if (range.offset != offset_of_record({2})) return;
    after_file_read->set(nullptr);
    gate.open();
    writer.join();
    corrupt_reads();
  });
  EXPECT_EQ(error_of([&] { read_block(2); }), EIO);
  heal();
}

TEST_F(FileInterleavingTest, ReadThatFoundTheOldRecordIsRightWhenTheWriteHasEnded) {
  write_block(2, 1);
  after_file_read->set([&](const Range&) {
    after_file_read->set(nullptr);
    write_block(2, 2);
  });
  EXPECT_EQ(read_block(2), pattern(kBlock, 2));
}

TEST_F(FileInterleavingTest, DoubtfulBlockThatIsBeingWrittenIsJudgedByTheWrite) {
  leave_doubtful(2);
  below.fill(range_of(2), std::byte{7});
  Gate gate;
  hold_next(Op::pwrite, gate);
  std::thread writer([&] { write_block(2, 2); });
  gate.wait_for_arrivals(1);
  EXPECT_EQ(read_block(2), Bytes(kBlock, std::byte{7}));
  gate.open();
  writer.join();
  EXPECT_TRUE(is_verified(2));
}

TEST_F(FileInterleavingTest, ReadBesideAFailingWriteIsNotAccused) {
  write_block(2, 1);
  Gate gate;
  hold_next(Op::pwrite, gate, EIO);
  int code = 0;
  std::thread writer([&] { code = error_of([&] { write_block(2, 2); }); });
  gate.wait_for_arrivals(1);
  bool failed = false;
  below.on_read_result([&](std::span<std::byte> data, std::uint64_t) {
    below.on_read_result(nullptr);
    gate.open();
    writer.join();
    std::fill(data.begin(), data.end(), std::byte{8});  // torn
    below.fill(range_of(2), std::byte{8});
    failed = true;
  });
  EXPECT_EQ(read_block(2), Bytes(kBlock, std::byte{8}));
  EXPECT_TRUE(failed);
  EXPECT_EQ(code, EIO);
}

// Blocks 2 and 3 are of one region, the other write's of another: both arrive below while the first
// is held there.
TEST_F(FileInterleavingTest, WritersOfDistinctBlocksDoNotWaitForEachOther) {
  FakeLayer wide(4 * kRegion);
  layer = std::make_unique<Md5Layer>(wide, shared);
  Gate gate;
  wide.on_call([&](const Call& call) {
    if (call.op == Op::pwrite) gate.pass();
  });
  std::vector<std::thread> writers;
  for (const std::uint64_t block : {std::uint64_t{2}, std::uint64_t{3}, 2 * kBlocksPerRegion}) {
    writers.emplace_back([&, block] { write_block(block, 1); });
  }
  gate.wait_for_arrivals(3);
  gate.open();
  for (std::thread& writer : writers) writer.join();
  for (const std::uint64_t block : {std::uint64_t{2}, std::uint64_t{3}, 2 * kBlocksPerRegion}) {
    EXPECT_EQ(record_of(block)->content.digest, md5(pattern(kBlock, 1)));
  }
}

// --- Digests computed beside the write ---

class LargeWriteTest : public FileInterleavingTest {
 protected:
  const Bytes old = pattern(kBlocks * kBlock, 1);  // 64 KiB, worth a thread, and more
  const Bytes fresh = pattern(kBlocks * kBlock, 2);
};

// nbdkit keeps a request's error and connection with its thread.
TEST_F(LargeWriteTest, IsMadeBelowByTheThreadOfTheRequest) {
  FakeLayer wide(4 * kMiB);
  layer = std::make_unique<Md5Layer>(wide, shared);
  std::atomic<unsigned> elsewhere{0};
  const auto mine = std::this_thread::get_id();
  wide.on_call([&](const Call& call) {
    if (call.op == Op::pwrite && std::this_thread::get_id() != mine) ++elsewhere;
  });
  const Bytes data = pattern(kMiB, 3);
  for (unsigned turn = 0; turn < 30; ++turn) write(data, 0);
  EXPECT_EQ(elsewhere, 0);
}

TEST_F(LargeWriteTest, ReadMeanwhileFindsTheOldOrTheNew) {
  write(old, 0);
  Gate gate;
  hold_next(Op::pwrite, gate);
  std::thread writer([&] { write(fresh, 0); });
  gate.wait_for_arrivals(1);
  EXPECT_EQ(read(0, old.size()), old);
  gate.open();
  writer.join();
  EXPECT_EQ(read(0, old.size()), fresh);
  EXPECT_TRUE(is_verified(kBlocks - 1));
}

TEST_F(LargeWriteTest, ReadWaitsForADigestThatIsNotThereYet) {
  write(old, 0);
  Gate gate;
  hold_next(Op::pwrite, gate);
  std::thread writer([&] { write(fresh, 0); });
  gate.wait_for_arrivals(1);
  below.pwrite(fresh, 0, Durability::on_flush);  // done below, whether or not digests are known
  Bytes found;
  std::thread reader([&] { found = read(0, old.size()); });
  gate.open();
  writer.join();
  reader.join();
  EXPECT_EQ(found, fresh);
}

TEST_F(LargeWriteTest, ThatFailsLeavesItsBlocksUnknown) {
  write(old, 0);
  fail_next(Op::pwrite);
  EXPECT_EQ(error_of([&] { write(fresh, 0); }), EIO);
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    EXPECT_EQ(record_of(block), std::nullopt) << block;
    EXPECT_FALSE(is_verified(block)) << block;
  }
}

// --- Many threads ---

// Each writes blocks of its own, which are other threads' neighbours, and knows what it must read.
class FileStressTest : public Md5FileTest {
 protected:
  static constexpr std::uint64_t kThreads = 4;
  static constexpr std::uint64_t kDisk_blocks = 4 * kBlocksPerRegion;

  void SetUp() override {
    start();
    layer = std::make_unique<Md5Layer>(wide, shared);
  }
  void work(std::uint64_t number) {
    std::mt19937 random(static_cast<unsigned>(number));
    for (unsigned turn = 0; turn < 300; ++turn) {
      const std::uint64_t block = random() % (kDisk_blocks / kThreads) * kThreads + number;
      Bytes& model = contents[block];
      switch (random() % 8) {
        case 0:
          layer->zero(kBlock, block * kBlock, {});
          model = Bytes(kBlock);
          break;
        case 1:
          layer->trim(kBlock, block * kBlock, Durability::on_flush);  // the fake layer zeroes
          model = Bytes(kBlock);
          break;
        case 2:
          layer->flush();
          break;
        case 3:
          write(Bytes(100, std::byte{9}), block * kBlock + 50);
          std::fill_n(model.begin() + 50, 100, std::byte{9});
          break;
        case 4:
        case 5:
          model = write_block(block, turn);
          break;
        default:
          ASSERT_EQ(read_block(block), model) << block;
      }
    }
  }
  void run() {
    std::vector<std::thread> threads;
    for (std::uint64_t number = 0; number < kThreads; ++number) {
      threads.emplace_back([this, number] { work(number); });
    }
    for (std::thread& thread : threads) thread.join();
  }

  FakeLayer wide{kDisk_blocks * kBlock};
  std::vector<Bytes> contents = std::vector<Bytes>(kDisk_blocks, Bytes(kBlock));
};

TEST_F(FileStressTest, ThreadsReadWhatTheyWroteAlsoAfterAKill) {
  for (unsigned turn = 0; turn < 2; ++turn) {
    run();
    kill_and_start();
    layer = std::make_unique<Md5Layer>(wide, shared);
    for (std::uint64_t block = 0; block < kDisk_blocks; ++block) {
      ASSERT_EQ(read_block(block), contents[block]) << block;
    }
  }
}

}  // namespace
}  // namespace nbdstack::testing
