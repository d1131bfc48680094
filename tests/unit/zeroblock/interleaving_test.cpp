// Pairs of {write, zero, trim, read, reply about extents, failure} on one block, in the orders that
// can go wrong. Gates hold a call below until the test lets it go on.
#include <gmock/gmock.h>

#include <thread>

#include "tests/unit/zeroblock/zeroblock_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ZeroBlockInterleavingTest : public ZeroBlockTest {
 protected:
  // Runs `action` until its next call of `op` is below, then `meanwhile`, then lets it end.
  // The errno of `action`.
  int during(Op op, const std::function<void()>& action, const std::function<void()>& meanwhile,
             int failure = 0) {
    Gate gate;
    hold_next(op, gate, failure);
    int code = 0;
    std::thread thread([&] { code = error_of(action); });
    gate.wait_for_arrivals(1);
    meanwhile();
    gate.open();
    thread.join();
    return code;
  }
  // The same with a second change that has to wait for the first.
  int with_second(Op op, const std::function<void()>& first, const std::function<void()>& second,
                  int failure = 0) {
    std::thread waiting;
    const int code = during(
        op, first,
        [&] {
          below.forget_calls();
          waiting = std::thread(second);
          wait_for_claims(2);
          EXPECT_FALSE(reaches_below_within_a_while()) << "two changes of a block at once";
        },
        failure);
    waiting.join();
    return code;
  }
  // That something does not happen cannot be waited for: a while is long enough to catch it nearly
  // always, and never fails what is right.
  bool reaches_below_within_a_while() const {
    for (unsigned turn = 0; turn < 50; ++turn) {
      if (!below.calls().empty()) return true;
      std::this_thread::yield();
    }
    return false;
  }
  void walk() { walk_all(below, shared->map); }

  const Bytes one = pattern(100, 1);
  const Bytes two = pattern(100, 2);
};

// --- Two changes ---

TEST_F(ZeroBlockInterleavingTest, TwoPartsOfAKnownZeroBlockDoNotOverwriteEachOther) {
  make_zeros(blocks(2));
  with_second(
      Op::pwrite, [&] { write(one, 2 * kBlock + 50); }, [&] { write(two, 2 * kBlock + 500); });
  Bytes expected(kBlock);
  std::copy(one.begin(), one.end(), expected.begin() + 50);
  std::copy(two.begin(), two.end(), expected.begin() + 500);
  EXPECT_EQ(read(blocks(2)), expected);
  EXPECT_EQ(below.calls(Op::pwrite).back().range, (Range{2 * kBlock + 500, 100}));
}

TEST_F(ZeroBlockInterleavingTest, TheSecondPartIsPaddedWhereTheFirstHasFailed) {
  make_zeros(blocks(2));
  EXPECT_EQ(with_second(
                Op::pwrite, [&] { write(one, 2 * kBlock + 50); },
                [&] { write(two, 2 * kBlock + 500); }, EIO),
            EIO);
  EXPECT_EQ(below.calls(Op::pwrite).back().range, (Range{2 * kBlock + 500, 100}))
      << "what a failed write has left is not known to be zeros";
  EXPECT_EQ(read({2 * kBlock + 500, 100}), two);
}

TEST_F(ZeroBlockInterleavingTest, ABlockThatHasBecomeZerosMeanwhileIsOwnedWhole) {
  with_second(
      Op::zero, [&] { zero(blocks(2)); }, [&] { write(one, 2 * kBlock + 50); });
  EXPECT_THAT(below.calls(Op::pwrite), ElementsAre(Call{Op::pwrite, blocks(2)}));
  EXPECT_EQ(read({2 * kBlock + 50, 100}), one);
}

TEST_F(ZeroBlockInterleavingTest, ZerosThatAreSentAgainDoNotOverwriteAPart) {
  make_zeros(blocks(2));
  with_second(
      Op::zero, [&] { write(Bytes(10), 2 * kBlock, Durability::fua); },
      [&] { write(one, 2 * kBlock + 50); });
  EXPECT_EQ(read({2 * kBlock + 50, 100}), one);
}

TEST_F(ZeroBlockInterleavingTest, ZerosAreNotDroppedWhileAWriteOfTheBlockIsUnderWay) {
  make_zeros(blocks(2));
  with_second(
      Op::pwrite, [&] { write(one, 2 * kBlock); }, [&] { write(Bytes(kBlock), 2 * kBlock); });
  EXPECT_THAT(below.calls(Op::zero), ElementsAre(Call{Op::zero, blocks(2)}));
  EXPECT_EQ(below.content(blocks(2)), Bytes(kBlock));
  EXPECT_TRUE(knows_zeros(blocks(2)));
}

TEST_F(ZeroBlockInterleavingTest, AWriteDuringAZeroHasTheLastWord) {
  with_second(
      Op::zero, [&] { zero(blocks(2)); }, [&] { write(pattern(kBlock, 1), 2 * kBlock); });
  EXPECT_EQ(read(blocks(2)), pattern(kBlock, 1));
}

TEST_F(ZeroBlockInterleavingTest, ATrimDuringAZeroLeavesUnknown) {
  with_second(
      Op::zero, [&] { zero(blocks(2), {.may_trim = false}); }, [&] { trim(blocks(2)); });
  EXPECT_THAT(known(blocks(2)), IsEmpty());
}

TEST_F(ZeroBlockInterleavingTest, PartsOfABlockOfDataAreWrittenAtOnce) {
  during(
      Op::pwrite, [&] { write(one, 2 * kBlock); }, [&] { write(two, 2 * kBlock + 200); });
  EXPECT_EQ(read({2 * kBlock, 100}), one);
  EXPECT_EQ(read({2 * kBlock + 200, 100}), two);
}

TEST_F(ZeroBlockInterleavingTest, OtherBlocksDoNotWait) {
  make_zeros(blocks(2, 4));
  during(
      Op::pwrite, [&] { write(one, 2 * kBlock); },
      [&] {
        write(two, 3 * kBlock);
        write(Bytes(kBlock), 4 * kBlock);
        zero(blocks(6));
        trim(blocks(7));
        EXPECT_EQ(read(blocks(5)), Bytes(kBlock));
      });
  EXPECT_EQ(read({3 * kBlock, 100}), two);
}

// --- Reads ---

TEST_F(ZeroBlockInterleavingTest, AReadDuringAWriteIsReadBelowAndDoesNotWait) {
  make_zeros(blocks(2));
  during(
      Op::pwrite, [&] { write(one, 2 * kBlock); },
      [&] { EXPECT_EQ(read(blocks(2)), Bytes(kBlock)); });
  EXPECT_EQ(read({2 * kBlock, 100}), one) << "zeros that were read meanwhile were remembered";
}

TEST_F(ZeroBlockInterleavingTest, AReadDuringAZeroFindsTheOldData) {
  during(
      Op::zero, [&] { zero(blocks(2)); },
      [&] { EXPECT_EQ(read(blocks(2)), Bytes(kBlock, std::byte{7})); });
  EXPECT_EQ(read(blocks(2)), Bytes(kBlock));
}

// A read that has found zeros when a change passes.
class ZeroBlockLateReadTest : public ZeroBlockInterleavingTest {
 protected:
  void read_during(const std::function<void()>& meanwhile) {
    below.fill(blocks(2), std::byte{0});
    Gate gate;
    below.on_read_result([&](std::span<std::byte>, std::uint64_t) {
      below.on_read_result(nullptr);
      gate.pass();
    });
    std::thread reader([&] { EXPECT_EQ(read(blocks(2)), Bytes(kBlock)); });
    gate.wait_for_arrivals(1);
    meanwhile();
    gate.open();
    reader.join();
    EXPECT_FALSE(knows_zeros(blocks(2)));
  }
};

TEST_F(ZeroBlockLateReadTest, DoesNotBringZerosBackOverAWholeWrite) {
  read_during([&] { write(pattern(kBlock, 1), 2 * kBlock); });
  EXPECT_EQ(read(blocks(2)), pattern(kBlock, 1));
}

TEST_F(ZeroBlockLateReadTest, DoesNotBringZerosBackOverAPart) {
  read_during([&] { write(one, 2 * kBlock); });
  EXPECT_EQ(read({2 * kBlock, 100}), one);
}

TEST_F(ZeroBlockLateReadTest, DoesNotBringZerosBackOverAFailedWrite) {
  read_during([&] {
    fail_next(Op::pwrite);
    EXPECT_EQ(error_of([&] { write(one, 2 * kBlock); }), EIO);
  });
}

TEST_F(ZeroBlockLateReadTest, DoesNotBringZerosBackOverATrim) {
  read_during([&] { trim(blocks(2)); });
}

// --- Replies about extents: the scan asks, a change passes, the reply is the old one ---

class ZeroBlockLateReplyTest : public ZeroBlockInterleavingTest {
 protected:
  void SetUp() override {
    ZeroBlockTest::SetUp();
    below.fill({0, kDiskSize}, std::byte{0});
    ExtentList told;
    told.append({0, kDiskSize}, kHole);
    below.set_extents(told);
  }
  void scan_during(const std::function<void()>& meanwhile) {
    EXPECT_EQ(during(
                  Op::extents, [&] { walk(); }, meanwhile),
              0);
    EXPECT_TRUE(knows_zeros(blocks(0, 2)));
    EXPECT_TRUE(knows_zeros({3 * kBlock, kDiskSize - 3 * kBlock}));
  }
};

TEST_F(ZeroBlockLateReplyTest, DoesNotReplaceAWrite) {
  scan_during([&] { write(pattern(kBlock, 1), 2 * kBlock); });
  EXPECT_THAT(known(blocks(2)), ElementsAre(Extent{blocks(2), kData}));
}

TEST_F(ZeroBlockLateReplyTest, DoesNotReplaceAPart) {
  scan_during([&] { write(one, 2 * kBlock + 5); });
  EXPECT_EQ(read({2 * kBlock + 5, 100}), one);
}

TEST_F(ZeroBlockLateReplyTest, DoesNotReplaceATrim) {
  scan_during([&] { trim(blocks(2)); });
  EXPECT_THAT(known(blocks(2)), IsEmpty());
}

TEST_F(ZeroBlockLateReplyTest, DoesNotReplaceAFailedWrite) {
  scan_during([&] {
    fail_next(Op::pwrite);
    EXPECT_EQ(error_of([&] { write(one, 2 * kBlock); }), EIO);
  });
  EXPECT_THAT(known(blocks(2)), IsEmpty());
}

TEST_F(ZeroBlockLateReplyTest, DoesNotReplaceAWriteThatIsUnderWay) {
  during(
      Op::pwrite, [&] { write(one, 2 * kBlock); },
      [&] {
        walk();
        EXPECT_FALSE(knows_zeros(blocks(2)));
      });
  EXPECT_EQ(read({2 * kBlock, 100}), one);
}

TEST_F(ZeroBlockLateReplyTest, OfAClientsQuestionDoesNotReplaceAWriteEither) {
  during(
      Op::extents,
      [&] {
        static_cast<void>(extents({0, kDiskSize}));
      },
      [&] { write(one, 2 * kBlock); });
  EXPECT_TRUE(knows_zeros(blocks(3)));
  EXPECT_EQ(read({2 * kBlock, 100}), one);
}

}  // namespace
}  // namespace nbdstack::testing
