// A machine that was suspended, or a process that was stopped, for longer than its lease lasts:
// what its clients ask for waits for the renewal that decides, within a bound.
#include <gtest/gtest.h>

#include "plugins/s3/lease/leased_disk.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/lease/lease_fixture.hpp"

namespace nbdstack {
namespace {

using testing::expect_error;
using testing::FakeClock;
using testing::FakeLayer;
using testing::Op;
using testing::pattern;

// While somebody waits for the lease, the keeper's thread gets its turn.
class KeepersClock final : public Clock {
 public:
  explicit KeepersClock(FakeClock& time) : time_(time) {}
  [[nodiscard]] TimePoint now() const override { return time_.now(); }
  void sleep_for(Duration duration) override {
    time_.advance(duration);
    if (keeper) keeper();
  }

  std::function<void()> keeper;

 private:
  FakeClock& time_;
};

class LeaseDoubtTest : public testing::LeaseFixture {
 protected:
  void SetUp() override {
    suspended_.acquire(store_);
    suspended_.settle(store_);
    auto owned = std::make_unique<FakeLayer>(1 << 20);
    below_ = owned.get();
    disk_ = std::make_unique<LeasedDisk>(std::move(owned), suspended_, DiskIdentity{});
  }

  void write() { disk_->pwrite(pattern(4096, 1), 0, Durability::on_flush); }

  KeepersClock clocked_{clock_};
  Lease suspended_{settings(), clocked_, here_};
  FakeLayer* below_ = nullptr;
  std::unique_ptr<LeasedDisk> disk_;
};

TEST_F(LeaseDoubtTest, WhatComesAfterWakingUpWaitsForTheRenewalAndIsDone) {
  clock_.advance(std::chrono::hours(8));
  clocked_.keeper = [&] { suspended_.tend(); };
  disk_->flush();
  EXPECT_EQ(suspended_.state(), LeaseState::held);
  clock_.advance(std::chrono::hours(8));
  write();
  EXPECT_EQ(below_->calls(Op::pwrite).size(), 1U);
  EXPECT_TRUE(log_.all().empty());
}

TEST_F(LeaseDoubtTest, AStoreThatComesBackWithinOneLeaseIsWaitedFor) {
  clock_.advance(std::chrono::hours(8));
  const TimePoint woken = clock_.now();
  fail_puts();
  clocked_.keeper = [&] {
    if (clock_.now() - woken > seconds(29)) store_.before = {};
    suspended_.tend();
  };
  write();
  EXPECT_GE(clock_.now() - woken, seconds(29));
}

TEST_F(LeaseDoubtTest, OneDoubtHoldsUpNobodyForLongerThanOneLease) {
  clock_.advance(seconds(25));
  fail_puts();
  clocked_.keeper = [&] { suspended_.tend(); };
  TimePoint start = clock_.now();
  expect_error(ESHUTDOWN, {}, [&] { disk_->flush(); });
  EXPECT_GE(clock_.now() - start, seconds(30));
  EXPECT_LE(clock_.now() - start, seconds(31));
  start = clock_.now();
  expect_error(ESHUTDOWN, {}, [&] { write(); });
  EXPECT_EQ(clock_.now(), start);
  EXPECT_EQ(log_.all().size(), 1U) << "refusals are not logged one by one";
  EXPECT_EQ(log_.count({"could not be renewed in time"}), 1U);

  // The next doubt has a time of its own.
  store_.before = {};
  clock_.advance(seconds(1));
  suspended_.tend();
  clock_.advance(seconds(26));
  write();
  EXPECT_EQ(below_->calls(Op::pwrite).size(), 1U);
}

TEST_F(LeaseDoubtTest, OneThatWasTakenOverIsRefusedAtOnceAndNamesTheNewOwner) {
  clock_.advance(std::chrono::hours(8));
  place_foreign();
  clocked_.keeper = [&] { suspended_.tend(); };
  const TimePoint woken = clock_.now();
  expect_error(ESHUTDOWN, {}, [&] { disk_->flush(); });
  expect_error(ESHUTDOWN, {}, [&] { write(); });
  EXPECT_LE(clock_.now() - woken, seconds(1));
  EXPECT_TRUE(below_->calls().empty());
  EXPECT_EQ(log_.all().size(), 1U);
  EXPECT_EQ(log_.count({"has lost the lease", "there, pid 22"}), 1U);
}

TEST_F(LeaseDoubtTest, WhatWasCutOffInTheMiddleIsDoneAgainWhereTheLeaseIsOursStill) {
  // The store finds that the lease has run out, and says so before or after it has been renewed.
  clocked_.keeper = [&] { suspended_.tend(); };
  for (const bool renewed_before : {false, true}) {
    below_->forget_calls();
    bool first = true;
    below_->on_call([&](const testing::Call&) {
      if (!std::exchange(first, false)) return;
      clock_.advance(std::chrono::hours(8));
      if (renewed_before) suspended_.tend();
      throw Error(ESHUTDOWN, "cut off");
    });
    write();
    EXPECT_EQ(below_->calls(Op::pwrite).size(), 2U);
  }
}

TEST_F(LeaseDoubtTest, WhatTheStoreRefusesForAnotherReasonIsNotTriedAgain) {
  for (const int code : {ESHUTDOWN, EIO}) {
    below_->forget_calls();
    below_->on_call([&](const testing::Call&) { throw Error(code, "refused"); });
    expect_error(code, {"refused"}, [&] { write(); });
    EXPECT_EQ(below_->calls(Op::pwrite).size(), 1U);
  }
}

}  // namespace
}  // namespace nbdstack
