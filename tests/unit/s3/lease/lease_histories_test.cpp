// Histories of several hosts and one volume, by seed: each host has a clock of its own, which began
// somewhere else and runs a little faster or slower, and the store's times of files are wrong by up
// to days. Hosts start, write or leave the volume at rest, renew, crash, stop in order, are frozen,
// and lose answers. In none of them
//   - may two write at the same moment,
//   - does a term come again, or go back,
//   - does an owner tell that nothing was changed since a term after which another one changed
//     something.
#include <gtest/gtest.h>

#include <random>

#include "plugins/s3/lease/lease.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::FakeClock;
using testing::FakeProcesses;
using testing::LogOfErrors;
using testing::QuirkyStore;
using testing::StoreCall;
using testing::StoreOp;

constexpr int kHosts = 3;
constexpr int kSteps = 1500;
constexpr unsigned kSeeds = 200;
constexpr Duration kStep = milliseconds(500);
const std::string kKey = "disk/nbdstack-lease.json";

// Of each step of a host: one in so many.
struct Odds {
  int end = 60;   // it crashes, or stops in order
  int rest = 60;  // its clients write nothing for up to five minutes
  int change = 10;
  // Of each answer that is lost: with it goes all that the host would do next.
  int freeze = 8;
};

class World;

// A host's own time: while it sleeps, the others go on.
class HostClock final : public Clock {
 public:
  HostClock(World& world, double rate, Duration start)
      : world_(world), rate_(rate), start_(start) {}
  [[nodiscard]] TimePoint now() const override;
  void sleep_for(Duration duration) override;

 private:
  World& world_;
  const double rate_;
  const Duration start_;
};

struct Host {
  Host(World& world, int number, double rate, Duration start)
      : clock(world, rate, start), processes("host" + std::to_string(number), number + 1) {}

  HostClock clock;
  FakeProcesses processes;
  std::unique_ptr<Lease> lease;
  bool is_busy = false;  // within a call of its lease
  TimePoint frozen_until{};
  TimePoint at_rest_until{};  // nobody writes
};

class World {
 public:
  World(unsigned seed, const Odds& odds)
      : odds_(odds), random_(seed), store_(time_, {.tells_ages = true}) {
    for (int i = 0; i < kHosts; ++i) {
      hosts_.push_back(
          std::make_unique<Host>(*this, i, 0.98 + 0.02 * below(3), seconds(below(1'000'000))));
    }
    store_.before = [this](const StoreCall& call) { on_way(call); };
    store_.after = [this](const StoreCall& call) {
      try {
        on_way(call);
      } catch (const Error&) {
        if (one_in(odds_.freeze)) acting_->frozen_until = now() + seconds(below(120));
        throw;
      }
    };
  }

  void run() {
    for (int i = 0; i < kSteps && !::testing::Test::HasFailure(); ++i) step();
  }

  [[nodiscard]] TimePoint now() const { return time_.now(); }

  // Half a second passes, in which every host that is free does something.
  void step() {
    time_.advance(kStep);
    expect_one_writer();
    for (const auto& host : hosts_) {
      if (!host->is_busy && host->frozen_until <= now()) let_act(*host);
    }
  }

  unsigned owners = 0;

 private:
  int below(int limit) { return std::uniform_int_distribution(0, limit - 1)(random_); }
  bool one_in(int count) { return below(count) == 0; }

  void expect_one_writer() const {
    int writers = 0;
    for (const auto& host : hosts_) writers += host->lease != nullptr && host->lease->may_write();
    EXPECT_LE(writers, 1);
  }

  void let_act(Host& host) {
    Host* const former = std::exchange(acting_, &host);
    host.is_busy = true;
    store_.quirks.age_skew = seconds(below(200'000) - 100'000);
    if (host.lease == nullptr) {
      if (one_in(40)) start(host);
    } else if (one_in(odds_.end)) {
      host.lease.reset();  // it crashes
    } else if (one_in(odds_.end)) {
      host.lease->release();
      host.lease.reset();
    } else {
      if (one_in(60)) host.frozen_until = now() + seconds(below(120));
      if (one_in(odds_.rest)) host.at_rest_until = now() + seconds(below(300));
      const bool is_at_rest = now() < host.at_rest_until;
      if (!is_at_rest && host.lease->may_write() && one_in(odds_.change)) change(host);
      host.lease->tend();
    }
    host.is_busy = false;
    acting_ = former;
  }

  void start(Host& host) {
    host.lease = std::make_unique<Lease>(
        LeaseSettings{.volume = "s3://b/disk", .volume_key = "disk"}, host.clock, host.processes);
    try {
      host.lease->acquire(store_);
      expect_term_is_right(*host.lease->term());
      host.lease->settle(store_);
      ++owners;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == EBUSY || error.code() == ETIMEDOUT) << error.what();
      host.lease.reset();
    }
  }

  void expect_term_is_right(const LeaseTerm& term) {
    EXPECT_GT(term.number, last_term_);
    EXPECT_LE(last_change_, term.changed_in);
    last_term_ = term.number;
  }

  void change(Host& host) {
    host.lease->note_change();
    last_change_ = std::max(last_change_, host.lease->term()->number);
  }

  // A request of the lease, or its answer, may take long, and may be lost.
  void on_way(const StoreCall& call) {
    if (call.op != StoreOp::put || call.keys.front() != kKey) return;
    if (one_in(20)) {
      for (int i = below(8); i >= 0; --i) step();
    }
    if (one_in(20)) throw Error(ETIMEDOUT, "lost");
  }

  const Odds odds_;
  std::mt19937 random_;
  FakeClock time_;
  QuirkyStore store_;
  std::vector<std::unique_ptr<Host>> hosts_;
  Host* acting_ = nullptr;  // whose request is under way
  std::uint64_t last_term_ = 0;
  std::uint64_t last_change_ = 0;  // the term of the last one
};

TimePoint HostClock::now() const {
  const auto passed = std::chrono::duration<double>(world_.now().time_since_epoch());
  return TimePoint(start_ + duration_cast<Duration>(passed * rate_));
}

void HostClock::sleep_for(Duration duration) {
  const TimePoint until = now() + duration;
  while (now() < until) world_.step();
}

unsigned owners_in_histories(const Odds& odds) {
  const LogOfErrors log;
  unsigned owners = 0;
  for (unsigned seed = 1; seed <= kSeeds && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    World world(seed, odds);
    world.run();
    owners += world.owners;
  }
  return owners;
}

TEST(LeaseHistoriesTest, NeverTwoWritersAndNeverAWrongTerm) {
  EXPECT_GT(owners_in_histories({}), kSeeds);
}

// Servers that live long, of clients that write now and then: records of all durations follow each
// other.
TEST(LeaseHistoriesTest, NeverTwoWritersWhereTheVolumeIsMostlyAtRest) {
  EXPECT_GT(owners_in_histories({.end = 500, .rest = 10, .change = 2, .freeze = 1}), kSeeds / 2);
}

}  // namespace
}  // namespace nbdstack
