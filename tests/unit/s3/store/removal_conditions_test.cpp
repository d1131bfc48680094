// That the first removal tells whether a store keeps the conditions of removals, and what is relied
// on.
#include "plugins/s3/store/removal_conditions.hpp"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "plugins/s3/store/guarded_changes.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using namespace std::chrono_literals;
using testing::expect_error;
using testing::FakeClock;
using testing::LogOfErrors;
using testing::Quirks;
using testing::QuirkyStore;
using testing::StoreCall;
using testing::StoreOp;

class RemovalConditionsTest : public ::testing::Test {
 protected:
  RemovalConditionsTest() {
    store_.before = [this](const StoreCall& call) {
      if (call.op == StoreOp::remove) ++removals_;
    };
  }

  static GuardedChanges::Target target(std::uint64_t block) {
    return {BlockNumber{block}, "disk/" + std::to_string(block)};
  }
  void place(std::uint64_t block, const std::string& text) {
    store_.memory.place_text(target(block).key, text);
  }
  [[nodiscard]] bool is_there(std::uint64_t block) const {
    return store_.memory.body_of(target(block).key).has_value();
  }
  void put(std::uint64_t block, const std::string& text) {
    changes_.put(target(block), std::as_bytes(std::span(text)), {}, {});
  }
  // Returns how many removals the store was sent.
  int remove(std::uint64_t first, std::uint64_t end) {
    std::vector<GuardedChanges::Target> targets;
    for (std::uint64_t block = first; block < end; ++block) targets.push_back(target(block));
    const int before = removals_;
    changes_.remove(targets);
    return removals_ - before;
  }
  // Whether removals are bound to the version that is known, as somebody else's change shows.
  bool are_bound(std::uint64_t block) {
    put(block, "ours");
    place(block, "somebody's");
    try {
      remove(block, block + 1);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("somebody else"), std::string::npos);
    }
    return is_there(block);
  }

  LogOfErrors log_;
  FakeClock clock_;
  QuirkyStore store_{clock_};
  int removals_ = 0;
  GuardedChanges changes_{
      store_,
      {.conditions = {.support = ConditionSupport::with_quotes, .etags_are_md5 = true},
       .bound = 60s,
       .clock = &clock_}};
};

TEST_F(RemovalConditionsTest, AStoreThatKeepsThemCostsOneRequestMoreOnce) {
  for (const std::uint64_t block : {1U, 2U, 3U, 4U}) put(block, "0");
  EXPECT_EQ(remove(1, 3), 2);
  EXPECT_EQ(remove(3, 5), 1);
  for (const std::uint64_t block : {1U, 2U, 3U, 4U}) EXPECT_FALSE(is_there(block));
  EXPECT_TRUE(are_bound(5));
}

TEST_F(RemovalConditionsTest, AStoreThatIgnoresThemHasRemovedTheObjectThatWasToGo) {
  store_.quirks.ignores_etags_of_removals = true;
  for (const std::uint64_t block : {1U, 2U, 3U}) put(block, "0");
  EXPECT_EQ(remove(1, 2), 1);
  EXPECT_EQ(remove(2, 4), 1);
  for (const std::uint64_t block : {1U, 2U, 3U}) EXPECT_FALSE(is_there(block));
  EXPECT_FALSE(are_bound(5));
}

TEST_F(RemovalConditionsTest, AStoreThatRefusesRequestsWithThemIsAskedWithout) {
  store_.quirks.knows_no_etags_of_removals = true;
  for (const std::uint64_t block : {1U, 2U, 3U}) put(block, "0");
  remove(1, 4);
  for (const std::uint64_t block : {1U, 2U, 3U}) EXPECT_FALSE(is_there(block));
  put(4, "0");
  EXPECT_EQ(remove(4, 5), 1);
}

TEST_F(RemovalConditionsTest, AStoreThatRefusesTheRightOneTooIsAskedWithout) {
  store_.quirks.refuses_every_etag_of_removals = true;
  for (const std::uint64_t block : {1U, 2U}) put(block, "0");
  EXPECT_EQ(remove(1, 3), 3);
  for (const std::uint64_t block : {1U, 2U}) EXPECT_FALSE(is_there(block));
  put(3, "0");
  EXPECT_EQ(remove(3, 4), 1);
}

TEST_F(RemovalConditionsTest, NothingIsFoundOutFromARequestThatNobodyAnswered) {
  put(1, "0");
  bool is_silent = true;
  store_.before = [&](const StoreCall& call) {
    if (call.op == StoreOp::remove && is_silent) throw Error(ETIMEDOUT, "no answer");
  };
  expect_error(ETIMEDOUT, {"no answer"}, [&] { remove(1, 2); });
  is_silent = false;
  EXPECT_TRUE(is_there(1));
  EXPECT_TRUE(are_bound(2));
  remove(1, 2);
  EXPECT_FALSE(is_there(1));
}

TEST_F(RemovalConditionsTest, NothingIsFoundOutFromAnObjectThatMayHaveBeenGoneBefore) {
  changes_.learn({1}, "\"0123456789abcdef0123456789abcdef\"");  // by a listing that was old
  EXPECT_EQ(remove(1, 2), 1);
  EXPECT_TRUE(are_bound(2));
}

TEST_F(RemovalConditionsTest, AUserWhoMayRemoveNothingFindsNothingOut) {
  put(1, "0");
  bool may_remove = false;
  store_.before = [&](const StoreCall& call) {
    if (call.op == StoreOp::remove && !may_remove) throw Error(EACCES, "AccessDenied");
  };
  expect_error(EACCES, {"AccessDenied"}, [&] { remove(1, 2); });
  may_remove = true;
  EXPECT_TRUE(are_bound(2));
}

// It would be taken for one that came late, or for a removal of ours.
TEST_F(RemovalConditionsTest, WhatSomebodyElseHasChangedIsNotTriedWith) {
  put(1, "0");
  place(1, "somebody's");
  store_.quirks.ignores_etags_of_removals = true;
  expect_error(EIO, {"somebody else"}, [&] { put(1, "1"); });
  expect_error(EIO, {"somebody else"}, [&] { remove(1, 2); });
  EXPECT_TRUE(is_there(1));
  EXPECT_EQ(removals_, 0);
}

}  // namespace
}  // namespace nbdstack
