// A reply that is older than a change, changes at the same time, changes that fail: a hole is never
// reported where there is data, whatever the order.
#include <thread>

#include "tests/unit/cacheextents/cacheextents_fixture.hpp"

namespace nbdstack::testing {
namespace {

constexpr Range kDisk{0, kMiB};
constexpr Range kChanged{64 * kKiB, 64 * kKiB};

class Interleaving : public CacheextentsTest {
 protected:
  void SetUp() override { use_disk(kDisk.length); }

  // A question is answered by the layer below, and before its reply arrives `change` happens.
  void reply_overtaken_by(const std::function<void()>& change) {
    bool first = true;
    below->after([&](const Call& call) {
      if (call.op == Op::extents && std::exchange(first, false)) change();
    });
    map(kDisk);
    below->after(nullptr);
  }
  void fail_changes() {
    below->before([](const Call& call) {
      if (call.op != Op::extents) throw Error(EIO, "told to fail");
    });
  }
  // As fail_changes(), but they have happened.
  void fail_changes_late() {
    below->after([](const Call& call) {
      if (call.op != Op::extents) throw Error(EIO, "told to fail");
    });
  }
};

// --- A reply and a change ---

TEST_F(Interleaving, WriteDuringAReplyStaysData) {
  reply_overtaken_by([&] { write(kChanged); });
  EXPECT_EQ(map(kDisk), (Extents{{{0, kChanged.offset}, kHole},
                                 {kChanged, kData},
                                 {{kChanged.end(), kMiB - kChanged.end()}, kHole}}));
  EXPECT_EQ(questions(), 1U);  // nothing else of the reply was forgotten
}

TEST_F(Interleaving, WriteThatIsUnderWayWhenTheReplyArrivesStaysData) {
  Gate gate;
  below->before([&](const Call& call) {
    if (call.op == Op::pwrite) gate.pass();
  });
  std::thread writer([&] { write(kChanged); });
  gate.wait_for_arrivals(1);
  map(kDisk);  // the layer below still says that it is a hole
  gate.open();
  writer.join();
  EXPECT_EQ(type_at(kChanged.offset), kData);
}

TEST_F(Interleaving, WriteAndTrimDuringAReplyBringBackNothing) {
  below->trims_leave(kData);  // a trim that does nothing
  reply_overtaken_by([&] {
    write(kChanged);
    trim(kChanged);
  });
  EXPECT_EQ(type_at(kChanged.offset), kData);
  EXPECT_EQ(questions(), 2U);
}

TEST_F(Interleaving, TrimDuringAReplyIsAskedAboutAgain) {
  below->put(kDisk, kData);
  reply_overtaken_by([&] { trim(kChanged); });
  EXPECT_EQ(type_at(kChanged.offset), kHole);
  EXPECT_EQ(questions(), 2U);
}

TEST_F(Interleaving, ZeroDuringAReplyIsKnown) {
  below->put(kDisk, kData);
  reply_overtaken_by([&] { zero(kChanged, false); });
  EXPECT_EQ(type_at(kChanged.offset), kZeros);
  EXPECT_EQ(questions(), 1U);
}

TEST_F(Interleaving, ZeroThatMayTrimDuringAReplyIsAskedAboutAgain) {
  below->put(kDisk, kData);
  reply_overtaken_by([&] { zero(kChanged, true); });
  EXPECT_EQ(type_at(kChanged.offset), kHole);
  EXPECT_EQ(questions(), 2U);
}

TEST_F(Interleaving, FailedWriteDuringAReplyBringsBackNothing) {
  fail_changes();
  reply_overtaken_by([&] {
    EXPECT_EQ(error_of([&] { write(kChanged); }), EIO);
    below->put(kChanged, kData);  // it may happen yet, or in part
  });
  EXPECT_EQ(type_at(kChanged.offset), kData);
}

// The client's own question, which is asked when the filter's was refused, may be about more: and
// nobody has kept an eye on changes there.
TEST_F(Interleaving, ReplyToAClientsLongerQuestionBringsBackNothing) {
  map(kDisk);
  trim({0, 64 * kKiB});
  below->before([](const Call& call) {
    if (call.op == Op::extents && call.range.length == 64 * kKiB) throw Error(EINVAL, "too short");
  });
  below->trims_leave(kData);
  const Range later{512 * kKiB, 4096};
  reply_overtaken_by([&] {
    write(later);
    trim(later);
  });
  EXPECT_EQ(type_at(later.offset), kData);
}

// --- A change of what is known ---

TEST_F(Interleaving, EachChangeLeavesWhatTheTableSays) {
  map(kDisk);
  write({0, 4096});
  EXPECT_EQ(type_at(0), kData);
  zero({4096, 4096}, false);
  EXPECT_EQ(type_at(4096), kZeros);
  EXPECT_EQ(questions(), 1U);
  zero({0, 4096}, true);
  EXPECT_EQ(type_at(0), kHole);
  EXPECT_EQ(questions(), 2U);
  write({8192, 4096});
  trim({8192, 4096});
  EXPECT_EQ(type_at(8192), kHole);
  EXPECT_EQ(questions(), 3U);
}

TEST_F(Interleaving, RangeCountsAsDataWhileAChangeIsUnderWay) {
  map(kDisk);
  for (const Op op : {Op::pwrite, Op::zero, Op::trim}) {
    const Range range{static_cast<std::uint64_t>(op) * 128 * kKiB, 4096};
    below->before([&](const Call& call) {
      if (call.op == op) {
        EXPECT_EQ(type_at(range.offset), kData);
      }
    });
    if (op == Op::pwrite) write(range);
    if (op == Op::zero) zero(range, false);
    if (op == Op::trim) trim(range);
  }
}

TEST_F(Interleaving, FailedChangesLeaveTheRangeUnknown) {
  map(kDisk);
  fail_changes_late();
  EXPECT_EQ(error_of([&] { write(kChanged); }), EIO);
  EXPECT_EQ(type_at(kChanged.offset), kData);
  EXPECT_EQ(questions(), 2U);
  EXPECT_EQ(error_of([&] { trim(kChanged); }), EIO);
  EXPECT_EQ(type_at(kChanged.offset), kHole);
  EXPECT_EQ(questions(), 3U);
  EXPECT_EQ(error_of([&] { zero(kChanged, false); }), EIO);
  below->put(kChanged, kData);
  EXPECT_EQ(type_at(kChanged.offset), kData);
  EXPECT_EQ(questions(), 4U);
}

// --- Two changes ---

// The zeros are below first, and it is the write that has the last word; the zero's success is
// heard of last.
TEST_F(Interleaving, ZeroThatIsAcknowledgedAfterALaterWriteIsNotBelieved) {
  map(kDisk);
  below->after([&](const Call& call) {
    if (call.op == Op::zero) write(kChanged);
  });
  zero(kDisk, false);
  EXPECT_EQ(type_at(0), kZeros);
  EXPECT_EQ(questions(), 1U);
  EXPECT_EQ(type_at(kChanged.offset), kData);
  EXPECT_EQ(questions(), 2U);  // asked, since either order was possible
  EXPECT_EQ(type_at(kChanged.end()), kZeros);
}

TEST_F(Interleaving, ZeroThatIsSentAndAcknowledgedDuringAWriteIsNotBelieved) {
  map(kDisk);
  below->before([&](const Call& call) {
    if (call.op == Op::pwrite) zero(kDisk, false);
  });
  write(kChanged);
  EXPECT_EQ(type_at(kChanged.offset), kData);
  EXPECT_EQ(type_at(0), kZeros);
}

TEST_F(Interleaving, TrimAcknowledgedDuringAWriteIsNotLearntUntilBothAreOver) {
  map(kDisk);
  below->before([&](const Call& call) {
    if (call.op != Op::pwrite) return;
    trim(kChanged);
    EXPECT_EQ(type_at(kChanged.offset), kHole);  // as the layer below says; the write has not been
  });
  write(kChanged);
  below->before(nullptr);
  EXPECT_EQ(type_at(kChanged.offset), kData);
}

}  // namespace
}  // namespace nbdstack::testing
