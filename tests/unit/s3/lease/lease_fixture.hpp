// What the tests of a lease start from: a store, a clock, this server ("here") and another one
// ("there").
#pragma once

#include "plugins/s3/lease/lease.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack::testing {

class LeaseFixture : public ::testing::Test {
 protected:
  using seconds = std::chrono::seconds;

  // From one renewal to the next, while somebody writes.
  static constexpr seconds kRenewal{13};

  inline static const std::string kKey = "disk/nbdstack-lease.json";

  static LeaseSettings settings(Ownership ownership = Ownership::automatic) {
    return {.volume = "s3://b/disk", .volume_key = "disk", .ownership = ownership};
  }
  [[nodiscard]] LeaseRecord stored() const {
    const auto body = store_.memory.body_of(kKey).value();
    return LeaseRecord::parse({reinterpret_cast<const char*>(body.data()), body.size()}, kKey);
  }
  // As another server leaves it.
  LeaseRecord place_foreign(LeaseRecord::State state = LeaseRecord::State::held) {
    LeaseRecord record = LeaseRecord::make(there_, kLeaseDuration_default);
    record.state = state;
    record.process = there_.self();
    store_.memory.place_text(kKey, record.to_json());
    return record;
  }
  void fail_puts() {
    store_.before = [](const StoreCall& call) {
      if (call.op == StoreOp::put) throw Error(ETIMEDOUT, "no answer");
    };
  }
  void lose_answers() {
    store_.after = [](const StoreCall& call) {
      if (call.op == StoreOp::put) throw Error(ETIMEDOUT, "answer lost");
    };
  }
  void hold() {
    lease_.acquire(store_);
    lease_.settle(store_);
    ASSERT_EQ(lease_.state(), LeaseState::held);
  }

  // The other server takes the lease, and goes into the background.
  void let_other_hold() {
    other_.acquire(store_);
    other_.settle(store_);
    store_.memory.forget_calls();
  }
  void expect_held_by(const Lease& lease, const FakeProcesses& processes) {
    EXPECT_EQ(lease.state(), LeaseState::held);
    EXPECT_EQ(stored().process.host_name, processes.process.host_name);
    EXPECT_EQ(stored().state, LeaseRecord::State::held);
  }

  LogOfErrors log_;
  FakeClock clock_;
  QuirkyStore store_{clock_};
  FakeProcesses here_{"here", 11};
  FakeProcesses there_{"there", 22};
  Lease lease_{settings(), clock_, here_};
  Lease other_{settings(), clock_, there_};
};

}  // namespace nbdstack::testing
