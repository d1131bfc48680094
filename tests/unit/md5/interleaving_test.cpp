// Every pair of {read, write, zero, trim, expiry, failure} on one block, in the orders that can go
// wrong.
//
// Before a call takes effect below (`before`) and after a read has picked up its data (`after`),
// the gates hold it until the test lets it go. retry_time is 0 throughout: a single wrong judgement
// is an EIO.
#include <gmock/gmock.h>

#include <thread>

#include "tests/unit/md5/md5_fixture.hpp"

namespace nbdstack::testing {
namespace {

class Md5InterleavingTest : public Md5Test {
 protected:
  void SetUp() override { open({.retry_time = Duration::zero()}); }

  // Holds the first call of `op` that follows before it takes effect; what fails, fails then.
  void hold_before(Op op, Gate& gate, int failure = 0) {
    below.on_call([this, op, &gate, failure](const Call& call) {
      if (call.op != op) return;
      below.on_call(nullptr);
      gate.pass();
      if (failure != 0) throw Error(failure, "told to fail");
    });
  }
  // Holds the first read that follows, with its data read.
  void hold_after_read(Gate& gate) {
    below.on_read_result([this, &gate](std::span<std::byte>, std::uint64_t) {
      below.on_read_result(nullptr);
      gate.pass();
    });
  }
  // A read of block 2 that has got its data from below when `meanwhile` happens.
  Bytes read_during(const std::function<void()>& meanwhile) {
    Gate gate;
    hold_after_read(gate);
    Bytes found;
    int code = 0;
    std::thread reader([&] { code = error_of([&] { found = read_block(2); }); });
    gate.wait_for_arrivals(1);
    meanwhile();
    gate.open();
    reader.join();
    EXPECT_EQ(code, 0) << "a right read was judged wrong";
    return found;
  }
  void wait_for_claims(std::size_t count) const {
    while (shared->changes.claims() < count) std::this_thread::yield();
  }
  // Whether so many calls reach the layer below. That something does not happen cannot be waited
  // for: a while is long enough to catch it nearly always, and never fails what is right.
  bool reaches_calls_within_a_while(std::size_t count) const {
    for (unsigned turn = 0; turn < 50; ++turn) {
      if (below.calls().size() >= count) return true;
      std::this_thread::yield();
    }
    return false;
  }
  void expect_verified(bool verified) {
    corrupt_reads();
    EXPECT_EQ(error_of([&] { read_block(2); }), verified ? EIO : 0);
    heal();
  }
};

// --- A read, with something else passing while it is under way ---

TEST_F(Md5InterleavingTest, ReadThatFoundTheOldDataIsRightWhenAWritePasses) {
  const Bytes old = write_block(2, 1);
  EXPECT_EQ(read_during([&] { write_block(2, 2); }), old);
  expect_verified(true);
}

TEST_F(Md5InterleavingTest, ReadThatFindsTheNewDataIsRightWhenAWritePasses) {
  write_block(2, 1);
  Gate gate;
  hold_before(Op::pread, gate);
  Bytes found;
  std::thread reader([&] { found = read_block(2); });
  gate.wait_for_arrivals(1);
  const Bytes fresh = write_block(2, 2);
  gate.open();
  reader.join();
  EXPECT_EQ(found, fresh);
}

TEST_F(Md5InterleavingTest, ReadOfAnUnknownBlockPassesWhenAWritePasses) {
  const Bytes before = below.content({2 * kBlock, kBlock});
  EXPECT_EQ(read_during([&] { write_block(2, 1); }), before);
  expect_verified(true);
}

TEST_F(Md5InterleavingTest, ReadIsRightWhenAZeroingPasses) {
  write_block(2, 1);
  Gate gate;
  hold_before(Op::pread, gate);
  Bytes found;
  std::thread reader([&] { found = read_block(2); });
  gate.wait_for_arrivals(1);
  layer->zero(kBlock, 2 * kBlock, {});
  gate.open();
  reader.join();
  EXPECT_EQ(found, Bytes(kBlock));
}

TEST_F(Md5InterleavingTest, ReadIsNotJudgedWhenATrimPasses) {
  write_block(2, 1);
  Gate gate;
  hold_before(Op::pread, gate);
  int code = 0;
  std::thread reader([&] { code = error_of([&] { read_block(2); }); });
  gate.wait_for_arrivals(1);
  layer->trim(kBlock, 2 * kBlock, Durability::on_flush);
  below.fill({2 * kBlock, kBlock}, std::byte{9});  // whatever a trimmed block may hold
  gate.open();
  reader.join();
  EXPECT_EQ(code, 0);
}

TEST_F(Md5InterleavingTest, ReadIsNotJudgedWhenAFailedWritePasses) {
  write_block(2, 1);
  Gate gate;
  hold_before(Op::pread, gate);
  int code = 0;
  std::thread reader([&] { code = error_of([&] { read_block(2); }); });
  gate.wait_for_arrivals(1);
  fail_next(Op::pwrite);
  EXPECT_EQ(error_of([&] { write_block(2, 2); }), EIO);
  below.fill({2 * kBlock, 100}, std::byte{9});  // half done
  gate.open();
  reader.join();
  EXPECT_EQ(code, 0);
}

TEST_F(Md5InterleavingTest, ReadIsStillJudgedWhenItsDigestWouldExpireMeanwhile) {
  write_block(2, 1);
  Gate gate;
  hold_before(Op::pread, gate);
  int code = 0;
  std::thread reader([&] { code = error_of([&] { read_block(2); }); });
  gate.wait_for_arrivals(1);
  clock.advance(seconds(20));
  corrupt_reads();
  gate.open();
  reader.join();
  EXPECT_EQ(code, EIO);
  expect_verified(false);  // and then it is over
}

TEST_F(Md5InterleavingTest, ReadsOfOneBlockDoNotWaitForEachOther) {
  const Bytes data = write_block(2, 1);
  EXPECT_EQ(read_during([&] { EXPECT_EQ(read_block(2), data); }), data);
}

// --- A write that is under way ---

TEST_F(Md5InterleavingTest, ReadDuringAWriteFindsOldOrNewAndDoesNotWait) {
  const Bytes old = write_block(2, 1);
  Gate gate;
  hold_before(Op::pwrite, gate);
  Bytes fresh;
  std::thread writer([&] { fresh = write_block(2, 2); });
  gate.wait_for_arrivals(1);
  EXPECT_EQ(read_block(2), old);
  const Bytes new_data = pattern(kBlock, 2);
  below.on_read_result([&](std::span<std::byte> data, std::uint64_t) {
    std::copy(new_data.begin(), new_data.end(), data.begin());
  });
  EXPECT_EQ(read_block(2), new_data);
  heal();
  gate.open();
  writer.join();
  expect_verified(true);
}

TEST_F(Md5InterleavingTest, ReadThatFindsAHalfDoneWriteWaitsForItsEnd) {
  write_block(2, 1);
  Gate gate;
  hold_before(Op::pwrite, gate);
  std::thread writer([&] { write_block(2, 2); });
  gate.wait_for_arrivals(1);
  below.fill({2 * kBlock, 100}, std::byte{9});
  Bytes found;
  std::thread reader([&] { found = read_block(2); });
  wait_for_claims(2);  // the writer's, and the reader's behind it
  gate.open();
  writer.join();
  reader.join();
  EXPECT_EQ(found, pattern(kBlock, 2));
}

TEST_F(Md5InterleavingTest, ReadDuringATrimIsNotJudged) {
  write_block(2, 1);
  Gate gate;
  hold_before(Op::trim, gate);
  std::thread trimmer([&] { layer->trim(kBlock, 2 * kBlock, Durability::on_flush); });
  gate.wait_for_arrivals(1);
  below.fill({2 * kBlock, 100}, std::byte{9});
  EXPECT_EQ(error_of([&] { read_block(2); }), 0);
  gate.open();
  trimmer.join();
}

TEST_F(Md5InterleavingTest, WriteThatExpiresBeforeItEndsIsRememberedFromItsEnd) {
  write_block(2, 1);
  Gate gate;
  hold_before(Op::pwrite, gate);
  std::thread writer([&] { write_block(2, 2); });
  gate.wait_for_arrivals(1);
  clock.advance(seconds(60));
  gate.open();
  writer.join();
  clock.advance(seconds(9));
  expect_verified(true);
}

TEST_F(Md5InterleavingTest, OperationsOnOtherBlocksDoNotWaitForAWrite) {
  write_block(3, 1);
  Gate gate;
  hold_before(Op::pwrite, gate);
  std::thread writer([&] { write_block(2, 1); });
  gate.wait_for_arrivals(1);
  EXPECT_EQ(read_block(3), write_block(3, 1));
  write(pattern(10, 2), 3 * kBlock);
  layer->zero(kBlock, kBlock, {});
  layer->trim(kBlock, 4 * kBlock, Durability::on_flush);
  gate.open();
  writer.join();
}

TEST_F(Md5InterleavingTest, WritersOfManyBlocksAreAllBelowAtOnce) {
  Gate gate;
  below.on_call([&](const Call&) { gate.pass(); });
  std::vector<std::thread> writers;
  for (unsigned block = 0; block < kBlocks; ++block) {
    writers.emplace_back([this, block] { write_block(block, block); });
  }
  gate.wait_for_arrivals(kBlocks);  // hangs when one waits for another
  gate.open();
  for (std::thread& writer : writers) writer.join();
}

// --- Two changes of one block ---

class Md5ChangePairTest : public Md5InterleavingTest,
                          public ::testing::WithParamInterface<std::pair<Op, Op>> {
 protected:
  void change(Op op, unsigned seed) {
    if (op == Op::pwrite) write_block(2, seed);
    if (op == Op::zero) layer->zero(kBlock, 2 * kBlock, {});
    if (op == Op::trim) layer->trim(kBlock, 2 * kBlock, Durability::on_flush);
  }
  // The first is held below and then succeeds or fails; the second comes meanwhile.
  void run_both(int failure_of_first) {
    const auto [first, second] = GetParam();
    Gate gate;
    hold_before(first, gate, failure_of_first);
    int code = 0;
    std::thread one([&, op = first] { code = error_of([&] { change(op, 1); }); });
    gate.wait_for_arrivals(1);
    std::thread two([&, op = second] { change(op, 2); });
    wait_for_claims(2);
    EXPECT_FALSE(reaches_calls_within_a_while(2)) << "two changes of one block are below at once";
    gate.open();
    one.join();
    two.join();
    EXPECT_EQ(code, failure_of_first);
  }
  // The second has the last word.
  void expect_state_of_second() {
    const Op second = GetParam().second;
    EXPECT_EQ(read_block(2), second == Op::pwrite ? pattern(kBlock, 2) : Bytes(kBlock));
    expect_verified(second != Op::trim);
  }
};

TEST_P(Md5ChangePairTest, AreServedOneAfterTheOther) {
  run_both(0);
  expect_state_of_second();
}

TEST_P(Md5ChangePairTest, TheSecondIsNotHarmedByAFailureOfTheFirst) {
  run_both(ENOSPC);
  expect_state_of_second();
}

TEST_P(Md5ChangePairTest, AFailureOfTheSecondLeavesTheBlockUnknown) {
  const auto [first, second] = GetParam();
  change(first, 1);
  fail_next(second);
  EXPECT_EQ(error_of([&, op = second] { change(op, 2); }), EIO);
  expect_verified(false);
}

INSTANTIATE_TEST_SUITE_P(
    Md5, Md5ChangePairTest,
    ::testing::Values(std::pair{Op::pwrite, Op::pwrite}, std::pair{Op::pwrite, Op::zero},
                      std::pair{Op::pwrite, Op::trim}, std::pair{Op::zero, Op::pwrite},
                      std::pair{Op::zero, Op::zero}, std::pair{Op::zero, Op::trim},
                      std::pair{Op::trim, Op::pwrite}, std::pair{Op::trim, Op::zero},
                      std::pair{Op::trim, Op::trim}));

TEST_F(Md5InterleavingTest, PartWrittenDuringAWriteIsFoldedIntoItsResult) {
  Gate gate;
  hold_before(Op::pwrite, gate);
  std::thread whole([&] { write_block(2, 1); });
  gate.wait_for_arrivals(1);
  const Bytes part_data = pattern(100, 2);
  std::thread part([&] { write(part_data, 2 * kBlock + 50); });
  wait_for_claims(2);
  gate.open();
  whole.join();
  part.join();
  Bytes expected = pattern(kBlock, 1);
  std::copy(part_data.begin(), part_data.end(), expected.begin() + 50);
  EXPECT_EQ(read_block(2), expected);
  expect_verified(true);
}

TEST_F(Md5InterleavingTest, TwoPartsOfOneBlockDoNotLoseEachOther) {
  Bytes expected = write_block(2, 1);
  Gate gate;
  hold_after_read(gate);
  const Bytes data = pattern(100, 2);
  std::thread one([&] { write(data, 2 * kBlock + 50); });
  gate.wait_for_arrivals(1);
  std::thread two([&] { write(data, 2 * kBlock + 1050); });
  wait_for_claims(2);
  EXPECT_FALSE(reaches_calls_within_a_while(3)) << "two changes of one block are below at once";
  gate.open();
  one.join();
  two.join();
  std::copy(data.begin(), data.end(), expected.begin() + 50);
  std::copy(data.begin(), data.end(), expected.begin() + 1050);
  EXPECT_EQ(read_block(2), expected);
  expect_verified(true);
}

TEST_F(Md5InterleavingTest, WholeWriteDuringAFoldHasTheLastWord) {
  write_block(2, 1);
  Gate gate;
  hold_before(Op::pread, gate);
  std::thread part([&] { write(pattern(100, 2), 2 * kBlock + 50); });
  gate.wait_for_arrivals(1);
  std::thread whole([&] { write_block(2, 3); });
  wait_for_claims(2);
  gate.open();
  part.join();
  whole.join();
  EXPECT_EQ(read_block(2), pattern(kBlock, 3));
  expect_verified(true);
}

// --- A read that retries ---

TEST_F(Md5InterleavingTest, WriteComesThroughWhileAReadRetriesAndEndsIt) {
  open({.retry_time = seconds(30)});
  write_block(2, 1);
  corrupt_reads();
  Gate gate;
  // The read's third attempt waits: the first was the common read, two are after pauses.
  std::size_t reads = 0;
  below.on_call([&](const Call& call) {
    if (call.op == Op::pread && ++reads == 3) gate.pass();
  });
  Bytes found;
  std::thread reader([&] { found = read_block(2); });
  gate.wait_for_arrivals(1);
  std::thread writer([&] { write_block(2, 2); });
  wait_for_claims(2);  // behind this attempt, not behind all of them
  below.on_read_result([&](std::span<std::byte> data, std::uint64_t) {
    if (below.content({2 * kBlock, kBlock}) != pattern(kBlock, 2)) data[0] ^= std::byte{1};
  });
  gate.open();
  writer.join();
  reader.join();
  EXPECT_EQ(found, pattern(kBlock, 2));
}

}  // namespace
}  // namespace nbdstack::testing
