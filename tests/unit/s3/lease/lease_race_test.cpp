// Two servers and one volume: at no moment may both write, in whatever order their requests take
// effect, however long those take, and whoever is stopped for however long.
//
// Both count the same fake clock. A hook of the store runs what the other does in the middle of the
// call that one of them is in: everything happens on one thread, and every order can be had.
#include <gtest/gtest.h>

#include "plugins/s3/lease/lease.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::FakeClock;
using testing::FakeProcesses;
using testing::LogOfErrors;
using testing::Quirks;
using testing::QuirkyStore;
using testing::StoreCall;
using testing::StoreOp;

// One store and the servers on it.
struct Scene {
  explicit Scene(const Quirks& quirks = {}) : store(clock, quirks) {}

  // False: refused, as somebody else has it.
  bool start(Lease& lease) {
    try {
      lease.acquire(store);
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EBUSY) << error.what();
      return false;
    }
  }

  static LeaseSettings settings(Ownership ownership = Ownership::automatic) {
    return {.volume = "s3://b/disk", .volume_key = "disk", .ownership = ownership};
  }

  FakeClock clock;
  QuirkyStore store;
  FakeProcesses first_processes{"first", 1};
  FakeProcesses second_processes{"second", 2};
  Lease first{settings(), clock, first_processes};
  Lease second{settings(), clock, second_processes};
};

// What lies in the store when the two start.
enum class Found : std::uint8_t { nothing, released, abandoned };

void prepare(Scene& scene, Found found) {
  if (found == Found::nothing) return;
  FakeProcesses processes("former", 3);
  Lease former(Scene::settings(), scene.clock, processes);
  former.acquire(scene.store);
  if (found == Found::released) former.release();
  scene.clock.advance(seconds(20));
}

// The second server starts, and has its lease or not, within the n-th call of the first one:
// before or after that takes effect. True while there is an n-th call.
bool run_second_within_call(Found found, const Quirks& quirks, int n, bool after) {
  Scene scene(quirks);
  prepare(scene, found);
  int calls = 0;
  bool second_started = false;
  bool ran = false;
  const auto hook = [&](const StoreCall&) {
    if (++calls != n) return;
    ran = true;
    second_started = scene.start(scene.second);
  };
  (after ? scene.store.after : scene.store.before) = hook;
  const bool first_started = scene.start(scene.first);
  if (!ran) return false;
  scene.store.before = scene.store.after = {};
  EXPECT_NE(first_started && scene.first.may_write(), second_started && scene.second.may_write())
      << "call " << n << (after ? " after" : " before");
  // And it stays so when both go on.
  for (int i = 0; i < 20; ++i) {
    if (first_started) scene.first.tend();
    if (second_started) scene.second.tend();
    EXPECT_NE(scene.first.may_write(), scene.second.may_write()) << "call " << n;
    scene.clock.advance(seconds(5));
  }
  return true;
}

TEST(LeaseRaceTest, OfTwoThatStartAtOnceExactlyOneHoldsInEveryOrder) {
  const LogOfErrors log;
  for (const Found found : {Found::nothing, Found::released, Found::abandoned}) {
    for (const bool bare : {false, true}) {
      for (const bool ages : {false, true}) {
        for (const bool after : {false, true}) {
          int n = 1;
          while (run_second_within_call(found, {.wants_bare_etags = bare, .tells_ages = ages}, n,
                                        after)) {
            ++n;
          }
          EXPECT_GT(n, 8);
        }
      }
    }
  }
}

// The owner is stopped (or its machine suspended) for `stop` at the point `where` of a renewal that
// it began `late` after the last one. Meanwhile, and at every look of the successor, the two are
// compared.
enum class Where : std::uint8_t { before_request, request_on_its_way, answer_on_its_way };

struct Freeze {
  Where where;
  Duration late;
  Duration stop;
  Duration successor_starts_at;  // after the last renewal; before `late`, or during the stop
  Quirks quirks;
};

// Time passes within a call of the owner, and the successor begins its start in the meantime.
class FreezeRun {
 public:
  explicit FreezeRun(const Freeze& freeze) : freeze_(freeze), scene_(freeze.quirks) {}

  void run() {
    scene_.first.acquire(scene_.store);
    scene_.first.settle(scene_.store);
    start_ = scene_.clock.now();
    scene_.clock.advance(freeze_.late);
    if (freeze_.where == Where::before_request) {
      freeze();
      scene_.first.tend();
    } else {
      auto& hook =
          freeze_.where == Where::request_on_its_way ? scene_.store.before : scene_.store.after;
      hook = [this](const StoreCall& call) {
        if (call.op == StoreOp::put && !std::exchange(frozen_, true)) freeze();
      };
      scene_.first.tend();
      scene_.store.before = scene_.store.after = {};
    }
    check();
    for (int i = 0; i < 5; ++i) {
      scene_.first.tend();
      check();
      scene_.clock.advance(seconds(3));
      if (second_holds_) scene_.second.tend();
      check();
    }
  }

  [[nodiscard]] bool was_taken_over() const { return second_holds_; }

 private:
  // The time until the end of the stop passes; the successor may use it for its whole start.
  void freeze() {
    const TimePoint end = scene_.clock.now() + freeze_.stop;
    const TimePoint successor_starts = start_ + freeze_.successor_starts_at;
    if (successor_starts > scene_.clock.now()) {
      if (successor_starts > end) {
        scene_.clock.advance(freeze_.stop);
        return;
      }
      scene_.clock.advance(successor_starts - scene_.clock.now());
    }
    second_holds_ = scene_.start(scene_.second);
    check();
    if (scene_.clock.now() < end) scene_.clock.advance(end - scene_.clock.now());
    check();
  }

  void check() {
    if (second_holds_) {
      EXPECT_FALSE(scene_.first.may_write())
          << static_cast<int>(freeze_.where) << ' ' << freeze_.late.count() << ' '
          << freeze_.stop.count() << ' ' << freeze_.successor_starts_at.count();
    }
  }

  const Freeze freeze_;
  Scene scene_;
  TimePoint start_;
  bool frozen_ = false;
  bool second_holds_ = false;
};

TEST(LeaseRaceTest, AnOwnerThatWasStoppedAnywhereNeverWritesBesideItsSuccessor) {
  const LogOfErrors log;
  int taken_over = 0;
  int runs = 0;
  for (const Where where :
       {Where::before_request, Where::request_on_its_way, Where::answer_on_its_way}) {
    for (Duration late = seconds(10); late < seconds(40); late += milliseconds(9'400)) {
      for (Duration stop = seconds(0); stop < seconds(120); stop += milliseconds(13'100)) {
        for (Duration begin = seconds(0); begin < seconds(90); begin += milliseconds(11'300)) {
          for (const bool ages : {false, true}) {
            FreezeRun run({.where = where,
                           .late = late,
                           .stop = stop,
                           .successor_starts_at = begin,
                           .quirks = {.tells_ages = ages}});
            run.run();
            taken_over += static_cast<int>(run.was_taken_over());
            ++runs;
          }
        }
      }
    }
  }
  EXPECT_GT(taken_over, runs / 4) << runs;
  EXPECT_LT(taken_over, runs) << runs;
}

// The put by which the successor takes over may take effect at the very first moment that its
// verdict allows: the owner must have stopped by then, with both margins to spare.
TEST(LeaseRaceTest, BetweenTheOwnersLastWriteAndTheTakeoverLieTwoMargins) {
  const LogOfErrors log;
  for (const bool ages : {false, true}) {
    for (Duration answer = seconds(0); answer <= seconds(5); answer += milliseconds(250)) {
      Scene scene({.tells_ages = ages});
      scene.first.acquire(scene.store);
      // The record is stored as late as may be after its sending: as soon as possible is the worst
      // case, so nothing passes before, and the answer's way counts for nobody.
      scene.store.after = [&](const StoreCall&) { scene.clock.advance(answer); };
      const TimePoint sent = scene.clock.now();
      scene.first.settle(scene.store);
      scene.store.after = {};
      const TimePoint stops = sent + seconds(25);
      std::optional<TimePoint> taken;
      scene.store.before = [&](const StoreCall& call) {
        if (call.op == StoreOp::put && call.keys.front() == "disk/nbdstack-lease.json") {
          taken = scene.clock.now();
          EXPECT_FALSE(scene.first.may_write());
        }
      };
      scene.second.acquire(scene.store);
      ASSERT_TRUE(taken.has_value());
      EXPECT_GE(*taken - stops, seconds(9));
    }
  }
}

// Renewals of the first come between any two calls of the second's start: it is alive, and stays
// the owner.
TEST(LeaseRaceTest, AnOwnerThatRenewsBetweenAnyTwoCallsKeepsTheLease) {
  const LogOfErrors log;
  for (int n = 1; n < 60; ++n) {
    Scene scene;
    scene.first.acquire(scene.store);
    int calls = 0;
    scene.store.before = [&](const StoreCall&) {
      if (++calls % n == 0) scene.first.tend();
    };
    const bool second = scene.start(scene.second);
    scene.store.before = {};
    scene.first.tend();
    EXPECT_NE(second, scene.first.may_write()) << n;
    EXPECT_EQ(second, scene.second.may_write()) << n;
    EXPECT_TRUE(n >= 20 || !second) << n;
  }
}

TEST(LeaseRaceTest, OfTwoThatForceTheLastOneHasIt) {
  const LogOfErrors log;
  for (int n = 1; n < 10; ++n) {
    for (const bool after : {false, true}) {
      Scene scene;
      Lease one(Scene::settings(Ownership::force), scene.clock, scene.first_processes);
      Lease two(Scene::settings(Ownership::force), scene.clock, scene.second_processes);
      int calls = 0;
      bool ran = false;
      (after ? scene.store.after : scene.store.before) = [&](const StoreCall&) {
        if (++calls != n) return;
        ran = true;
        two.acquire(scene.store);
      };
      one.acquire(scene.store);
      scene.store.before = scene.store.after = {};
      if (!ran) continue;
      scene.clock.advance(seconds(13));
      one.tend();
      two.tend();
      EXPECT_NE(one.may_write(), two.may_write()) << n;
    }
  }
}

}  // namespace
}  // namespace nbdstack
