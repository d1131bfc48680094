// What a removal is bound to where nothing is known of the object.
#include <gtest/gtest.h>

#include <span>
#include <thread>

#include "plugins/s3/store/guarded_changes.hpp"
#include "plugins/s3/volume/volume.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"
#include "tests/unit/s3/memory_store.hpp"
#include "tests/unit/s3/plain_format.hpp"

namespace nbdstack {
namespace {

using testing::FakeClock;
using testing::Gate;
using testing::kObject;
using testing::LogOfErrors;
using testing::MemoryStore;
using testing::plain_format;
using testing::StoreCall;
using testing::StoreOp;

using Calls = std::vector<StoreCall>;

// The calls for one object that is there, and one that is not.
Calls calls_to_remove(RemovalState of_removals) {
  const LogOfErrors log;
  FakeClock clock;
  MemoryStore store;
  store.place_text("disk/5", "0");
  GuardedChanges changes(
      store, {.conditions = {.support = ConditionSupport::with_quotes, .of_removals = of_removals},
              .bound = std::chrono::seconds(60),
              .clock = &clock});
  for (const std::uint64_t block : {5U, 6U}) {
    const GuardedChanges::Target target{BlockNumber{block}, fmt::format("disk/{}", block)};
    changes.remove(std::span(&target, 1));
  }
  EXPECT_FALSE(store.body_of("disk/5").has_value());
  return store.calls();
}

// A removal of whatever is there would, done late, remove what the next owner of the volume has
// stored since.
TEST(GuardedRemovalsTest, WhatIsNotKnownIsLookedAtFirst) {
  EXPECT_EQ(calls_to_remove(RemovalState::kept), (Calls{{StoreOp::look_up, {"disk/5"}},
                                                        {StoreOp::remove, {"disk/5"}},
                                                        {StoreOp::look_up, {"disk/6"}}}));
}

TEST(GuardedRemovalsTest, NoLookWhereARemovalCannotBeBoundToWhatItFinds) {
  EXPECT_EQ(calls_to_remove(RemovalState::not_kept),
            (Calls{{StoreOp::remove, {"disk/5"}}, {StoreOp::remove, {"disk/6"}}}));
}

// After a crash a trim may cover thousands of blocks of which nothing is known.
TEST(GuardedRemovalsTest, ATrimLooksAtSeveralBlocksAtATime) {
  constexpr std::size_t kConnections = 4;
  constexpr std::uint64_t kBlocks = 100;
  MemoryStore store;
  Volume volume(store, plain_format("disk", kObject), BlockGeometry(kBlocks * kObject, kObject),
                {.connections = kConnections,
                 .guard = {.conditions = {.support = ConditionSupport::with_quotes,
                                          .of_removals = RemovalState::kept}}});
  Gate gate;
  store.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::look_up) gate.pass();
  });
  std::thread trim([&] { volume.trim(kBlocks * kObject, 0, Durability::on_flush); });
  gate.wait_for_arrivals(kConnections);
  gate.open();
  trim.join();
  EXPECT_EQ(store.calls(StoreOp::look_up).size(), kBlocks);
  EXPECT_EQ(store.calls(StoreOp::remove).size(), 0U);
}

}  // namespace
}  // namespace nbdstack
