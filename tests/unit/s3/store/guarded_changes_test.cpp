// What a change is bound to, and what its refusal means.
#include "plugins/s3/store/guarded_changes.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/bytes_of.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/held_store.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using namespace std::chrono_literals;
using testing::bytes_of;
using testing::expect_error;
using testing::FakeClock;
using testing::HeldStore;
using testing::LogOfErrors;
using testing::StoreCall;
using testing::StoreOp;

using Calls = std::vector<StoreCall>;

class GuardedChangesTest : public ::testing::Test {
 protected:
  static constexpr BlockNumber kBlock{5};
  inline static const std::string kKey = "disk/5";
  inline static const std::string kOldEtag = "\"0123456789abcdef0123456789abcdef\"";

  GuardedChanges make(RemovalState of_removals = RemovalState::kept) {
    return {store_,
            {.conditions = {.support = ConditionSupport::with_quotes,
                            .of_removals = of_removals,
                            .etags_are_md5 = etags_are_md5_},
             .bound = 60s,
             .clock = &clock_}};
  }
  static void put(GuardedChanges& changes, const std::string& text,
                  const ObjectVersion& seen = {}) {
    changes.put({kBlock, kKey}, bytes_of(text), {}, seen);
  }
  static void remove(GuardedChanges& changes) {
    const GuardedChanges::Target target{kBlock, kKey};
    changes.remove(std::span(&target, 1));
  }
  void expect_somebody(const std::function<void()>& action) {
    expect_error(EIO, {kKey, "somebody else has changed this object"}, action);
  }
  [[nodiscard]] std::string stored() const {
    const auto body = store_.body_of(kKey);
    return body.has_value() ? std::string(reinterpret_cast<const char*>(body->data()), body->size())
                            : "none";
  }

  bool etags_are_md5_ = true;
  LogOfErrors log_;
  FakeClock clock_;
  HeldStore store_;
};

TEST_F(GuardedChangesTest, OneLookAtWhatIsNotKnownThenAPutEach) {
  store_.place_text(kKey, "0");
  GuardedChanges changes = make();
  put(changes, "1");
  put(changes, "2");
  remove(changes);
  put(changes, "3");
  EXPECT_EQ(store_.calls(), (Calls{{StoreOp::look_up, {kKey}},
                                   {StoreOp::put, {kKey}},
                                   {StoreOp::put, {kKey}},
                                   {StoreOp::remove, {kKey}},
                                   {StoreOp::put, {kKey}}}));
  EXPECT_EQ(stored(), "3");
}

TEST_F(GuardedChangesTest, NoLookWhereAListingOrAReadHasToldTheVersion) {
  store_.place_text(kKey, "0");
  GuardedChanges read = make();
  const auto version = read.note_read({kBlock, kKey}, store_.look_up(kKey));
  store_.forget_calls();
  put(read, "1", version);
  GuardedChanges absent = make();
  absent.put({BlockNumber{6}, "disk/6"}, bytes_of("1"), {}, ObjectVersion::absent());
  EXPECT_EQ(store_.calls().size(), 2U);
}

TEST_F(GuardedChangesTest, WhatIsKnownToBeAbsentIsNotRemoved) {
  store_.place_text(kKey, "0");
  GuardedChanges changes = make();
  remove(changes);
  remove(changes);
  EXPECT_EQ(store_.calls(StoreOp::remove).size(), 1U);
}

TEST_F(GuardedChangesTest, SomebodyElsesChangeIsNeverWrittenOverHoweverOftenItIsTried) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.place_text(kKey, "somebody's");
  for (int i = 0; i < 3; ++i) {
    expect_somebody([&] { put(changes, "2"); });
    expect_somebody([&] { remove(changes); });
    expect_somebody([&] { changes.note_read({kBlock, kKey}, store_.look_up(kKey)); });
  }
  EXPECT_EQ(stored(), "somebody's");
}

TEST_F(GuardedChangesTest, WhatAClientHasReadAfterTheErrorMayBeReplaced) {
  for (const bool by_a_read : {false, true}) {
    GuardedChanges changes = make();
    put(changes, "1");
    store_.place_text(kKey, "somebody's");
    changes.note_seen({kBlock, kKey}, store_.look_up(kKey));  // nobody has been told yet
    if (by_a_read) {
      expect_somebody([&] { changes.note_read({kBlock, kKey}, store_.look_up(kKey)); });
    } else {
      expect_somebody([&] { put(changes, "2"); });
    }
    changes.note_seen({kBlock, kKey}, store_.look_up(kKey));
    put(changes, "2");
    EXPECT_EQ(stored(), "2");
    EXPECT_FALSE(changes.is_disputed(kBlock));
    EXPECT_EQ(log_.count({kKey, "a client has read this object"}), by_a_read ? 2U : 1U);
  }
}

TEST_F(GuardedChangesTest, WhatHasChangedAgainSinceAClientHasReadItIsNotReplaced) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.place_text(kKey, "somebody's");
  expect_somebody([&] { put(changes, "2"); });
  const auto seen = store_.look_up(kKey);
  store_.place_text(kKey, "somebody's second");
  changes.note_seen({kBlock, kKey}, seen);
  expect_somebody([&] { put(changes, "2"); });
  expect_somebody([&] { remove(changes); });
  EXPECT_EQ(stored(), "somebody's second");
}

TEST_F(GuardedChangesTest, AnObjectThatIsAsBeforeOrGoneMayBeReplacedAgain) {
  for (const bool is_restored : {true, false}) {
    GuardedChanges changes = make();
    put(changes, "1");
    store_.place_text(kKey, "somebody's");
    expect_somebody([&] { put(changes, "2"); });
    store_.drop(kKey);
    if (is_restored) store_.place_text(kKey, "1");
    put(changes, "2");
    EXPECT_EQ(stored(), "2");
    EXPECT_FALSE(changes.is_disputed(kBlock));
  }
  EXPECT_EQ(log_.count({kKey, "as this server knows it again"}), 2U);
}

TEST_F(GuardedChangesTest, ARemovalByOthersIsAnErrorOnce) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.drop(kKey);
  expect_somebody([&] { put(changes, "2"); });
  put(changes, "2");
  EXPECT_EQ(stored(), "2");
}

TEST_F(GuardedChangesTest, AChangeThatIsGoingToBeRefusedAgainIsNotSent) {
  GuardedChanges changes = make(RemovalState::not_kept);
  put(changes, "1");
  store_.place_text(kKey, "somebody's");
  expect_somebody([&] { put(changes, "2"); });
  store_.forget_calls();
  expect_somebody([&] { put(changes, "2"); });
  expect_somebody([&] { remove(changes); });  // the store keeps no conditions of removals
  EXPECT_EQ(store_.calls(), (Calls{{StoreOp::look_up, {kKey}}, {StoreOp::look_up, {kKey}}}));
  store_.drop(kKey);
  remove(changes);
  EXPECT_FALSE(changes.is_disputed(kBlock));
}

TEST_F(GuardedChangesTest, OursIsRecognisedByItsChecksumWhereEtagsSayNothing) {
  store_.give_opaque_etags();
  etags_are_md5_ = false;
  GuardedChanges changes = make();
  put(changes, "1");
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "2"); });
  store_.on_call([&](const StoreCall& call) {  // between a look and the put
    if (call.op == StoreOp::put) store_.release_changes();
  });
  put(changes, "3");
  EXPECT_EQ(stored(), "3");
  store_.on_call({});
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "4"); });
  store_.place_text(kKey, "somebody's");
  expect_somebody([&] { put(changes, "5"); });
}

TEST_F(GuardedChangesTest, SomebodyElsesObjectAndRemovalAreNoticedToo) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.drop(kKey);
  expect_somebody([&] { put(changes, "2"); });
  EXPECT_EQ(stored(), "none");
  remove(changes);  // it is as it is wanted
  store_.place_text(kKey, "somebody's");
  expect_somebody([&] { put(changes, "2"); });
  EXPECT_EQ(stored(), "somebody's");
}

TEST_F(GuardedChangesTest, AFailureThatDidNothingLeavesTheVersionKnown) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.on_call([](const StoreCall& call) {
    if (call.op != StoreOp::look_up) throw Error(EACCES, "AccessDenied");
  });
  expect_error(EACCES, {}, [&] { put(changes, "2"); });
  expect_error(EACCES, {}, [&] { remove(changes); });
  store_.on_call({});
  store_.place_text(kKey, "somebody's");
  expect_somebody([&] { put(changes, "2"); });
}

TEST_F(GuardedChangesTest, AfterAFailureOfUnknownFateOursIsRecognisedAndSomebodyElsesToo) {
  for (const bool etags_are_md5 : {true, false}) {
    etags_are_md5_ = etags_are_md5;
    GuardedChanges changes = make();
    put(changes, "1");
    store_.lose_answers(1);
    expect_error(ETIMEDOUT, {}, [&] { put(changes, "2"); });
    EXPECT_EQ(stored(), "2");
    clock_.advance(24h);
    put(changes, "3");
    EXPECT_EQ(stored(), "3");
  }
  etags_are_md5_ = true;
  GuardedChanges changes = make();
  put(changes, "1");
  store_.lose_answers(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "2"); });
  store_.place_text(kKey, "somebody's");
  expect_somebody([&] { put(changes, "3"); });
}

TEST_F(GuardedChangesTest, AnObjectThatAPutHasMadeWithoutAnAnswerIsRemoved) {
  GuardedChanges changes = make();
  store_.lose_answers(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "1", ObjectVersion::absent()); });
  EXPECT_EQ(stored(), "1");
  remove(changes);
  EXPECT_EQ(stored(), "none");
}

TEST_F(GuardedChangesTest, WhoReliesOnAbsenceWaitsForAPutThatWasNotAnswered) {
  GuardedChanges changes(store_, {.bound = 60s, .clock = &clock_});
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "1"); });
  const GuardedChanges::Target target{kBlock, kKey};
  EXPECT_EQ(changes.open_blocks({0}, {10}), std::vector<BlockNumber>{kBlock});
  EXPECT_FALSE(changes.may_create(kBlock));
  changes.wait_until_absence_lasts(std::span(&target, 1));
  EXPECT_EQ(clock_.slept(), ChangeGuard::by_any_clock(60s));
}

TEST_F(GuardedChangesTest, WithConditionsAPutThatWasNotAnsweredMayCreate) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "2"); });
  EXPECT_FALSE(changes.may_create(kBlock)) << "it overwrites";
  remove(changes);
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "3"); });
  EXPECT_TRUE(changes.may_create(kBlock));
  clock_.advance(ChangeGuard::by_any_clock(60s) + OpenChanges::kRemembered + 1ms);
  EXPECT_FALSE(changes.may_create(kBlock));
}

TEST_F(GuardedChangesTest, AnAttemptOfOursThatComesLateIsRecognised) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "2"); });
  EXPECT_EQ(stored(), "1");
  int looks = 0;
  store_.on_call([&](const StoreCall& call) {  // between the look and the put
    if (call.op == StoreOp::put && ++looks == 1) store_.release_changes();
  });
  put(changes, "3");
  EXPECT_EQ(stored(), "3");
}

TEST_F(GuardedChangesTest, ALateChangeIsRefusedByWhatHasBeenStoredSince) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "2"); });
  put(changes, "3");
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { remove(changes); });
  put(changes, "4");
  store_.release_changes();
  EXPECT_EQ(stored(), "4");
  EXPECT_EQ(clock_.slept(), 0s);
}

TEST_F(GuardedChangesTest, AnObjectThatBecomesWhatALateChangeWasToReplaceWaits) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "2"); });
  put(changes, "3");
  EXPECT_EQ(clock_.slept(), 0s);
  put(changes, "1");
  EXPECT_EQ(clock_.slept(), ChangeGuard::by_any_clock(60s));
  EXPECT_EQ(log_.count({kKey, "never answered", "61.9 s"}), 1U);
}

TEST_F(GuardedChangesTest, ARemovalWithoutAConditionIsWaitedFor) {
  GuardedChanges changes = make(RemovalState::not_kept);
  put(changes, "1");
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { remove(changes); });
  store_.on_call([&](const StoreCall& call) {
    if (call.op == StoreOp::put) store_.release_changes();
  });
  put(changes, "2");
  EXPECT_EQ(clock_.slept(), ChangeGuard::by_any_clock(60s));
  EXPECT_EQ(stored(), "2");
}

TEST_F(GuardedChangesTest, WithoutConditionsEveryOtherChangeWaits) {
  GuardedChanges changes(store_, {.bound = 60s, .clock = &clock_});
  put(changes, "1");
  store_.hold_changes(1);
  expect_error(ETIMEDOUT, {}, [&] { put(changes, "2"); });
  put(changes, "2");
  EXPECT_EQ(clock_.slept(), 0s);
  put(changes, "3");
  EXPECT_EQ(clock_.slept(), ChangeGuard::by_any_clock(60s));
  EXPECT_EQ(store_.calls(StoreOp::look_up).size(), 0U);
}

TEST_F(GuardedChangesTest, AnOldEtagFromAListingIsNoError) {
  store_.place_text(kKey, "0");
  GuardedChanges changes = make();
  changes.learn(kBlock, kOldEtag);
  put(changes, "1");
  EXPECT_EQ(stored(), "1");
  EXPECT_EQ(log_.count({kKey, "a listing"}), 1U);
}

TEST_F(GuardedChangesTest, ARemovalOverAnOldEtagFromAListingIsNoError) {
  store_.place_text(kKey, "0");
  GuardedChanges changes = make();
  changes.learn(kBlock, kOldEtag);
  remove(changes);
  EXPECT_EQ(stored(), "none");
}

TEST_F(GuardedChangesTest, ListingsThatAlwaysTellSomethingElseAreNoErrorAndNotBelievedAnyMore) {
  const std::string other = "\"0123456789abcdef0123456789abcdef\"";
  store_.place_text(kKey, "0");
  store_.place_text("disk/6", "0");
  store_.list_as(other);
  GuardedChanges changes = make();
  changes.learn(kBlock, other);
  changes.learn({6}, other);
  put(changes, "1");
  EXPECT_EQ(stored(), "1");
  EXPECT_EQ(log_.count({kKey, "listings"}), 1U);
  store_.forget_calls();
  changes.put({BlockNumber{6}, "disk/6"}, bytes_of("1"), {}, {});
  EXPECT_EQ(store_.calls(), (Calls{{StoreOp::look_up, {"disk/6"}}, {StoreOp::put, {"disk/6"}}}));
}

TEST_F(GuardedChangesTest, AStoreThatRefusesTheRightVersionAgainAndAgainIsAnError) {
  GuardedChanges changes = make();
  put(changes, "1");
  store_.refuse_conditions(true);
  expect_error(EIO, {kKey, "has not"}, [&] { put(changes, "2"); });
  store_.refuse_conditions(false);
  put(changes, "2");
}

TEST_F(GuardedChangesTest, OfManyRemovedAtOnceThoseThatSomebodyChangedStay) {
  GuardedChanges changes = make();
  std::vector<GuardedChanges::Target> targets;
  for (std::uint64_t i = 0; i < 10; ++i) {
    targets.push_back({BlockNumber{i}, fmt::format("disk/{}", i)});
    changes.put(targets.back(), bytes_of("x"), {}, ObjectVersion::absent());
  }
  store_.place_text("disk/3", "somebody's");
  expect_error(EIO, {"disk/3"}, [&] { changes.remove(targets); });
  EXPECT_EQ(store_.keys(), std::vector<std::string>{"disk/3"});
}

}  // namespace
}  // namespace nbdstack
