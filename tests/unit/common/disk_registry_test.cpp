// Which clients share a State, which have one of their own, and which are refused.
#include "common/block/disk_registry.hpp"

#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <random>
#include <thread>

#include "common/error.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack {
namespace {

using testing::Gate;

constexpr std::uint64_t kDisk_bytes = 1U << 20U;

struct State {
  explicit State(int made_as) : number(made_as) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (at_end) at_end();
  }
  const int number;
  bool unwritten = false;
  std::function<void()> at_end;
};

ShownDisk unknown(std::uint64_t size = kDisk_bytes) {
  return {size, nullptr};
}
ShownDisk known(const std::string& id, std::uint64_t size = kDisk_bytes) {
  DiskIdentity identity;
  identity.id = id;
  identity.size_bytes = size;
  return {size, std::make_shared<const DiskIdentity>(identity)};
}

// A client that has opened a disk; it leaves when it is destroyed or told to.
struct Client {
  OpenRequest request;
  std::shared_ptr<State> state;  // what its layer holds, until that is closed

  void leave() { request.stay->end(); }
  void leave_and_close() {
    leave();
    state.reset();
  }
};

class DiskRegistryTest : public ::testing::Test {
 protected:
  void use(const DiskRegistry<State>::Options& options) {
    registry_.emplace(options, rule_, [](const State& state) { return !state.unwritten; });
  }

  Client open(const std::string& name, const ShownDisk& disk, bool tls = false) {
    Client client;
    client.request.export_name = name;
    client.request.is_tls = tls;
    client.state = registry_->find_or_make(client.request, disk,
                                           [&] { return std::make_shared<State>(++made_); });
    return client;
  }

  std::string refusal(const std::string& name, const ShownDisk& disk, bool tls = false) {
    try {
      open(name, disk, tls);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EBUSY);
      return error.what();
    }
    return "(served)";
  }

  ExportRule rule_ = ExportRule::found_out;
  std::atomic<int> made_ = 0;
  std::optional<DiskRegistry<State>> registry_{
      std::in_place, DiskRegistry<State>::Options{.filter = "f", .patience = {}}, rule_,
      [](const State& state) { return !state.unwritten; }};
};

// --- The layer below tells which disk it is ---

TEST_F(DiskRegistryTest, OneKnownDiskHasOneStateUnderEveryName) {
  const Client a = open("a", known("x"));
  const Client b = open("b", known("x"), true);
  EXPECT_EQ(a.state, b.state);
}

TEST_F(DiskRegistryTest, DifferentKnownDisksHaveTheirOwn) {
  const Client a = open("a", known("x"));
  const Client b = open("a", known("y"));
  EXPECT_NE(a.state, b.state);
}

TEST_F(DiskRegistryTest, AKnownDiskStaysWarmBetweenClients) {
  open("a", known("x")).leave_and_close();
  EXPECT_EQ(open("b", known("x")).state->number, 1);
}

TEST_F(DiskRegistryTest, KnownAndUnknownAreNeverMixed) {
  Client a = open("a", known("x"));
  EXPECT_NE(refusal("a", unknown()).find("may be one"), std::string::npos);
  EXPECT_NE(refusal("b", unknown()).find("does not tell it of export 'b'"), std::string::npos);
  a.leave_and_close();
  EXPECT_EQ(open("a", unknown()).state->number, 2);
  EXPECT_EQ(open("a", known("x")).state->number, 3);  // the first had to go: it may be out of date
}

TEST_F(DiskRegistryTest, KnownAndUnknownOfDifferentSizesAreDifferent) {
  const Client a = open("a", known("x"));
  EXPECT_NE(open("b", unknown(kDisk_bytes / 2)).state, a.state);
}

TEST_F(DiskRegistryTest, AnIdleStateIsNotUsedAgainWhenOthersHaveWrittenSince) {
  const auto in_term = [](std::uint64_t term, std::uint64_t since) {
    DiskIdentity identity = *known("x").identity;
    identity.term = {term, since};
    return ShownDisk{kDisk_bytes, std::make_shared<const DiskIdentity>(identity)};
  };
  open("a", in_term(3, 3)).leave_and_close();
  open("a", in_term(4, 3)).leave_and_close();
  EXPECT_EQ(made_, 1);
  open("a", in_term(5, 4)).leave_and_close();  // nobody wrote between this server's terms 4 and 5
  EXPECT_EQ(made_, 1);
  open("a", in_term(7, 6)).leave_and_close();
  EXPECT_EQ(made_, 2);
}

// --- It tells nothing ---

TEST_F(DiskRegistryTest, OneNameOfAnUnknownDiskIsShared) {
  const Client a = open("a", unknown());
  EXPECT_EQ(open("a", unknown()).state, a.state);
}

TEST_F(DiskRegistryTest, ASecondNameIsRefusedWhileTheFirstIsInUse) {
  const Client a = open("a", unknown());
  EXPECT_EQ(refusal("b", unknown()),
            "f: the plugin does not tell whether export 'b' and export 'a' are one disk, and the "
            "latter is in use: set f-exports=one if they are, f-exports=each if each name is a "
            "disk of its own");
}

TEST_F(DiskRegistryTest, TlsIsASecondName) {
  const Client a = open("a", unknown(), true);
  EXPECT_EQ(refusal("a", unknown()),
            "f: the plugin does not tell whether export 'a' and the same with TLS are one disk, "
            "and the latter is in use: set f-exports=one if they are, f-exports=each if each of "
            "them is a disk of its own");
}

TEST_F(DiskRegistryTest, ASecondNameIsRefusedWhileTheFirstHoldsWhatIsNotWritten) {
  Client a = open("a", unknown());
  a.state->unwritten = true;
  const auto state = a.state.get();
  a.leave_and_close();
  EXPECT_NE(refusal("b", unknown()).find("holds what is not written yet"), std::string::npos);
  EXPECT_EQ(open("a", unknown()).state->number, 1);
  state->unwritten = false;
  EXPECT_EQ(open("b", unknown()).state->number, 2);
}

TEST_F(DiskRegistryTest, AnIdleStateMakesRoomForASecondName) {
  open("a", unknown()).leave_and_close();
  EXPECT_EQ(open("b", unknown()).state->number, 2);
  EXPECT_EQ(open("a", unknown()).state->number, 3);
}

TEST_F(DiskRegistryTest, AnIdleStateOfTheSameNameIsUsedAgain) {
  open("a", unknown()).leave_and_close();
  EXPECT_EQ(open("a", unknown()).state->number, 1);
}

TEST_F(DiskRegistryTest, UnknownDisksOfDifferentSizesAreDifferent) {
  const Client a = open("a", unknown());
  const Client b = open("b", unknown(2 * kDisk_bytes));
  EXPECT_NE(a.state, b.state);
}

// --- The administrator has said it ---

TEST_F(DiskRegistryTest, OneSharesAmongAllNames) {
  rule_ = ExportRule::one;
  const Client a = open("a", unknown());
  EXPECT_EQ(open("b", unknown(), true).state, a.state);
}

TEST_F(DiskRegistryTest, EachKeepsNamesApartAndTlsFromPlaintext) {
  rule_ = ExportRule::each;
  const Client a = open("a", unknown());
  const Client b = open("b", unknown());
  const Client tls = open("a", unknown(), true);
  EXPECT_NE(a.state, b.state);
  EXPECT_NE(a.state, tls.state);
  EXPECT_EQ(open("a", unknown()).state, a.state);
}

TEST_F(DiskRegistryTest, WhatTheLayerTellsGoesBeforeWhatTheAdministratorSays) {
  rule_ = ExportRule::one;
  const Client a = open("a", known("x"));
  EXPECT_NE(open("b", known("y")).state, a.state);
  rule_ = ExportRule::each;
  EXPECT_EQ(open("c", known("x")).state, a.state);
}

// --- Sizes ---

TEST_F(DiskRegistryTest, ADiskThatHasGrownIsRefusedOnlyWhileItsOldSizeIsNeeded) {
  for (const auto& [before, after] : {std::pair(unknown(), unknown(2 * kDisk_bytes)),
                                      std::pair(known("x"), known("x", 2 * kDisk_bytes))}) {
    Client old = open("a", before);
    EXPECT_NE(refusal("a", after).find("1048576 when it was opened"), std::string::npos);
    old.state->unwritten = true;
    State* const state = old.state.get();
    old.leave_and_close();
    EXPECT_NE(refusal("a", after).find("not written yet"), std::string::npos);
    state->unwritten = false;
    EXPECT_NE(open("a", after).state, nullptr);
  }
}

// --- What is only a hint ---

TEST_F(DiskRegistryTest, HintsAreNeverRefused) {
  use({.filter = "f", .patience = {}, .refuses = false});
  const Client a = open("a", unknown());
  const Client b = open("b", unknown());
  const Client grown = open("a", unknown(2 * kDisk_bytes));
  EXPECT_NE(a.state, b.state);
  EXPECT_NE(a.state, grown.state);
}

// --- Bounds ---

TEST_F(DiskRegistryTest, IdleStatesAreBoundedAndTheLongestIdleLeave) {
  use({.filter = "f", .most_idle = 2, .patience = {}});
  for (const char* id : {"x", "y", "z"}) open("a", known(id)).leave_and_close();
  EXPECT_EQ(registry_->all().size(), 2U);
  EXPECT_EQ(open("a", known("z")).state->number, 3);
  EXPECT_EQ(open("a", known("x")).state->number, 4);
}

TEST_F(DiskRegistryTest, MadeUpNamesLeaveNothingBehind) {
  for (const ExportRule rule : {ExportRule::found_out, ExportRule::each, ExportRule::one}) {
    rule_ = rule;
    for (int i = 0; i < 1000; ++i) open(std::to_string(i), unknown()).leave_and_close();
    EXPECT_LE(registry_->all().size(), 4U);
  }
}

TEST_F(DiskRegistryTest, WhatIsNotWrittenNeverLeavesAndLeavesWhenItIs) {
  use({.filter = "f", .most_idle = 0, .patience = {}});
  Client a = open("a", known("x"));
  State* const state = a.state.get();
  state->unwritten = true;
  a.leave_and_close();
  registry_->tidy();
  EXPECT_EQ(registry_->all().size(), 1U);
  state->unwritten = false;
  registry_->tidy();
  EXPECT_TRUE(registry_->all().empty());
}

// --- Order of events ---

TEST_F(DiskRegistryTest, AfterAFailureTheNextOneTriesAgain) {
  OpenRequest request;
  EXPECT_THROW(registry_->find_or_make(request, unknown(),
                                       []() -> std::shared_ptr<State> { throw Error(EIO, "no"); }),
               Error);
  EXPECT_TRUE(registry_->all().empty());
  EXPECT_EQ(open("b", unknown()).state->number, 1);
}

TEST_F(DiskRegistryTest, OnlyClientsOfTheSameDiskWaitWhileItIsMade) {
  Gate making;
  OpenRequest first;
  auto slow = std::async(std::launch::async, [&] {
    return registry_->find_or_make(first, known("x"), [&] {
      making.pass();
      return std::make_shared<State>(100);
    });
  });
  making.wait_for_arrivals(1);
  auto same = std::async(std::launch::async, [&] { return open("b", known("x")).state->number; });
  EXPECT_EQ(open("c", known("y")).state->number, 1);
  making.open();
  EXPECT_EQ(slow.get()->number, 100);
  EXPECT_EQ(same.get(), 100);
}

TEST_F(DiskRegistryTest, WhoWaitsForAFailedOneMakesItHimself) {
  Gate making;
  OpenRequest first;
  auto failing = std::async(std::launch::async, [&] {
    return registry_->find_or_make(first, known("x"), [&]() -> std::shared_ptr<State> {
      making.pass();
      throw Error(EIO, "no");
    });
  });
  making.wait_for_arrivals(1);
  auto next = std::async(std::launch::async, [&] { return open("a", known("x")).state->number; });
  making.open();
  EXPECT_THROW(failing.get(), Error);
  EXPECT_EQ(next.get(), 1);
}

TEST_F(DiskRegistryTest, AClientThatIsAboutToLeaveIsWaitedFor) {
  use({.filter = "f", .patience = std::chrono::hours(1)});
  Client a = open("a", unknown());
  auto b = std::async(std::launch::async, [&] { return open("b", unknown()).state->number; });
  a.leave_and_close();
  EXPECT_EQ(b.get(), 2);
}

// The layer is closed after the client has left, and may own what only one State may.
TEST_F(DiskRegistryTest, AnotherIsMadeOnlyWhenTheOneThatLeavesHasEnded) {
  use({.filter = "f", .patience = std::chrono::hours(1)});
  Client a = open("a", unknown());
  std::atomic<bool> ended = false;
  a.state->at_end = [&] { ended = true; };
  a.leave();
  OpenRequest request;
  request.export_name = "b";
  auto b = std::async(std::launch::async, [&] {
    return registry_->find_or_make(request, unknown(), [&] {
      EXPECT_TRUE(ended);
      return std::make_shared<State>(2);
    });
  });
  a.state.reset();
  EXPECT_EQ(b.get()->number, 2);
}

TEST_F(DiskRegistryTest, OneThatLeavesIsNotJoinedAgain) {
  use({.filter = "f", .most_idle = 0, .patience = std::chrono::hours(1)});
  Gate ending;
  Client a = open("a", known("x"));
  a.state->at_end = [&] { ending.pass(); };
  auto leaving = std::async(std::launch::async, [&] { a.leave_and_close(); });
  ending.wait_for_arrivals(1);
  auto again = std::async(std::launch::async, [&] { return open("a", known("x")).state->number; });
  ending.open();
  leaving.get();
  EXPECT_EQ(again.get(), 2);
}

TEST_F(DiskRegistryTest, AClientMayOutliveTheRegistry) {
  Client a = open("a", unknown());
  registry_.reset();
  EXPECT_EQ(a.state->number, 1);
  a.leave_and_close();
}

// By seed: clients of three disks come and go under random names from several threads. No State is
// ever shared by two disks, none is used after its end, and at most the idle ones stay.
TEST_F(DiskRegistryTest, ManyClientsComeAndGo) {
  struct Disk : State {
    Disk(int made_as, std::string id) : State(made_as), of(std::move(id)) {}
    const std::string of;
  };
  std::atomic<int> alive = 0;  // outlives the registry, which has disks to the end
  DiskRegistry<Disk> registry({.filter = "f", .most_idle = 1, .patience = std::chrono::hours(1)},
                              rule_);
  const auto clients = [&](unsigned seed) {
    std::minstd_rand draw(seed);
    for (int i = 0; i < 2000; ++i) {
      const std::string id(1, static_cast<char>('x' + draw() % 3));
      OpenRequest request;
      request.export_name = std::to_string(draw() % 5);
      auto state = registry.find_or_make(request, known(id), [&] {
        auto made = std::make_shared<Disk>(i, id);
        made->at_end = [&] { --alive; };
        ++alive;
        return made;
      });
      ASSERT_EQ(state->of, id);
      if (draw() % 2 == 0) request.stay->end();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) threads.emplace_back(clients, seed);
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(registry.all().size(), 1U);
  EXPECT_EQ(alive, static_cast<int>(registry.all().size()));
}

}  // namespace
}  // namespace nbdstack
