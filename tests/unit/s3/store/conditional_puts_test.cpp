// What is found out about a store's conditions, and that nothing is left behind.
#include "plugins/s3/store/conditional_puts.hpp"

#include <gtest/gtest.h>

#include "tests/unit/s3/lease/lease_fakes.hpp"

namespace nbdstack {
namespace {

using testing::expect_error;
using testing::FakeClock;
using testing::LogOfErrors;
using testing::Quirks;
using testing::QuirkyStore;
using testing::StoreCall;
using testing::StoreOp;

class ConditionalPutsTest : public ::testing::Test {
 protected:
  ConditionalPuts probe(const Quirks& quirks) {
    store_.quirks = quirks;
    ConditionalPuts found = probe_conditional_puts(store_, "disk");
    EXPECT_TRUE(store_.memory.keys().empty());
    return found;
  }
  void expect_not_honoured(const Quirks& quirks, const std::string& words) {
    const ConditionalPuts found = probe(quirks);
    EXPECT_EQ(found.support, ConditionSupport::not_honoured);
    EXPECT_FALSE(found.honoured());
    EXPECT_NE(found.reason.find(words), std::string::npos) << found.reason;
  }

  LogOfErrors log_;
  FakeClock clock_;
  QuirkyStore store_{clock_};
};

TEST_F(ConditionalPutsTest, AStoreThatHonoursThemIsFoundWithFiveRequestsAndARemoval) {
  const ConditionalPuts found = probe({});
  EXPECT_EQ(found.support, ConditionSupport::with_quotes);
  EXPECT_EQ(found.etag_to_send("\"abc\""), "\"abc\"");
  EXPECT_EQ(store_.memory.calls(StoreOp::put).size(), 5U);
  EXPECT_EQ(found.of_removals, RemovalState::untried);
  EXPECT_EQ(store_.memory.calls().size(), 6U);
}

TEST_F(ConditionalPutsTest, TheProbeObjectLiesUnderTheVolumesKeyAndHasANewNameEachTime) {
  probe_conditional_puts(store_, "disk");
  probe_conditional_puts(store_, "");
  const auto puts = store_.memory.calls(StoreOp::put);
  EXPECT_TRUE(puts.front().keys.front().starts_with("disk/nbdstack-probe-"));
  EXPECT_TRUE(puts.back().keys.front().starts_with("nbdstack-probe-"));
  EXPECT_NE("disk/" + puts[5].keys.front(), puts[0].keys.front());
}

TEST_F(ConditionalPutsTest, NoTwoPutsHaveTheSameBytes) {
  std::vector<std::vector<std::byte>> bodies;
  store_.after = [&](const StoreCall& call) {
    if (call.op != StoreOp::put) return;
    const auto body = store_.memory.body_of(call.keys.front());
    if (body.has_value()) bodies.push_back(*body);
  };
  probe({.ignores_if_none_match = true});
  ASSERT_EQ(bodies.size(), 2U);
  EXPECT_NE(bodies[0], bodies[1]);
}

TEST_F(ConditionalPutsTest, AStoreThatWantsBareEtagsIsFound) {
  const ConditionalPuts found = probe({.wants_bare_etags = true});
  EXPECT_EQ(found.support, ConditionSupport::bare);
  EXPECT_EQ(found.etag_to_send("\"abc\""), "abc");
  EXPECT_EQ(found.etag_to_send("abc"), "abc");
  EXPECT_EQ(found.etag_to_send("\""), "\"");
}

TEST_F(ConditionalPutsTest, AnEtagThatThePutDoesNotTellIsLookedUp) {
  EXPECT_EQ(probe({.gives_no_etag_on_put = true}).support, ConditionSupport::with_quotes);
}

TEST_F(ConditionalPutsTest, EveryConditionThatIsNotHonouredIsSeen) {
  expect_not_honoured({.ignores_if_none_match = true}, "If-None-Match is ignored");
  expect_not_honoured({.knows_no_create_only = true}, "knows no PUT that creates only");
  expect_not_honoured({.ignores_if_match = true}, "If-Match is ignored");
  expect_not_honoured({.creates_by_if_match = true}, "creates an object");
  expect_not_honoured({.knows_no_if_match = true}, "knows no PUT over a certain ETag");
  expect_not_honoured({.refuses_every_etag = true}, "with quotes and without");
  expect_not_honoured({.gives_no_etag = true}, "no ETag");
}

TEST_F(ConditionalPutsTest, AStoreThatSaysOfANewObjectThatItExistsIsNotTrusted) {
  store_.before = [&](const StoreCall& call) {
    if (call.op == StoreOp::put) store_.memory.place_text(call.keys.front(), "somebody else's");
  };
  expect_not_honoured({}, "does not exist that it does");
}

TEST_F(ConditionalPutsTest, WhereverTheStoreFailsNothingIsLeftBehind) {
  for (int failing = 1; failing <= 5; ++failing) {
    int puts = 0;
    store_.after = [&](const StoreCall& call) {  // stored, but the answer is lost
      if (call.op == StoreOp::put && ++puts == failing) throw Error(EIO, "cut");
    };
    expect_error(EIO, {"cut"}, [&] { probe_conditional_puts(store_, "disk"); });
    EXPECT_TRUE(store_.memory.keys().empty()) << failing;
  }
}

TEST_F(ConditionalPutsTest, AnObjectThatCannotBeRemovedIsNamedInTheLog) {
  store_.before = [](const StoreCall& call) {
    if (call.op == StoreOp::remove) throw Error(EACCES, "AccessDenied");
  };
  EXPECT_TRUE(probe_conditional_puts(store_, "disk").honoured());
  EXPECT_EQ(log_.count({"disk/nbdstack-probe-", "AccessDenied"}), 1U);
}

}  // namespace
}  // namespace nbdstack
