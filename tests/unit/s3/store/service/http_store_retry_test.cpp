// What the store does when answers are late, lost or "try again", and how long anything may take.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "common/error.hpp"
#include "common/log.hpp"
#include "tests/unit/s3/store/service/http_store_fixture.hpp"

namespace nbdstack {
namespace {

using std::chrono::seconds;
using testing::answer;
using testing::AnswerHeaders;
using testing::error_answer;
using testing::Gate;
using testing::hang_up;
using testing::kBody;
using testing::kBytes;

using HttpStoreRetryTest = testing::HttpStoreFixture;

TEST_F(HttpStoreRetryTest, BusyServiceIsAskedAgain) {
  server.then(error_answer(503, "SlowDown", {{"Retry-After", "7"}}));
  server.then(answer(500, "<html/>"));
  server.then(hang_up());
  server.then(answer(200, kBody).close_after(3));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
  EXPECT_EQ(server.requests().size(), 5U);
  EXPECT_GE(clock.slept(), seconds(7));
}

TEST_F(HttpStoreRetryTest, BodyThatWasDamagedOnItsWayIsReadAgain) {
  server.then(answer(200, kBody, {{"x-amz-meta-nbdstack-xxh3", std::string(32, '0')}}));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
}

TEST_F(HttpStoreRetryTest, AnObjectThatIsMissingIsSoAlsoAfterAFailure) {
  for (int i = 0; i < 2; ++i) {
    server.then(answer(500, "<html/>"));
    server.then(error_answer(404, "NoSuchKey"));
  }
  EXPECT_FALSE(store().fetch("k", body).has_value());
  EXPECT_FALSE(store().look_up("k").has_value());
}

TEST_F(HttpStoreRetryTest, RefusalIsFinal) {
  server.then(error_answer(403, "AccessDenied"));
  EXPECT_EQ(errno_of([&] { store().put("k", kBytes, {}); }), EACCES);
  EXPECT_EQ(server.requests().size(), 1U);
  server.then(error_answer(403, "QuotaExceeded"));
  EXPECT_EQ(errno_of([&] { store().put("k", kBytes, {}); }), ENOSPC);
}

TEST_F(HttpStoreRetryTest, GivingUpTellsObjectAttemptsAndWords) {
  config.retries = 2;
  for (int i = 0; i < 3; ++i) server.then(error_answer(503, "SlowDown"));
  EXPECT_EQ(errno_of([&] { store().get("vol/1", body); }), EIO);
  for (const char* part : {"GET s3://disk/vol/1", "3 attempts", "503 SlowDown: scripted"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

// The last attempt may be cut off before it meets what is wrong.
TEST_F(HttpStoreRetryTest, RunningOutOfTimeTellsTheFailureBeforeToo) {
  config.timeout_ms = 10'000;
  server.then(error_answer(503, "SlowDown", {{"Retry-After", "7"}}));
  server.then(answer(500, "<html/>", {{"Retry-After", "7"}}));
  EXPECT_EQ(errno_of([&] { store().get("vol/1", body); }), ETIMEDOUT);
  for (const char* part : {"timeout=10", "answered 500", "before that: ", "503 SlowDown"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST_F(HttpStoreRetryTest, NobodyThereIsAnErrorAfterTheRetries) {
  config.retries = 2;
  place.endpoint = Endpoint::parse("http://127.0.0.1:1");
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO);
  EXPECT_NE(message.find("127.0.0.1"), std::string::npos) << message;
}

// libcurl refuses some options of a handle whose name did not resolve.
TEST_F(HttpStoreRetryTest, NameThatDoesNotResolveIsTriedAgain) {
  config.retries = 2;
  const std::string too_long_for_a_label(64, 'a');
  place.endpoint = Endpoint::parse("http://" + too_long_for_a_label + ".invalid");
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EIO);
  EXPECT_NE(message.find("3 attempts"), std::string::npos) << message;
}

TEST_F(HttpStoreRetryTest, ClockThatIsOffIsCorrectedFromTheAnswer) {
  log::set_sink({[](const char*) {}, [](const char*) {}});
  const AnswerHeaders date{{"Date", "Fri, 24 May 2013 00:00:00 GMT"}};
  server.then(error_answer(403, "RequestTimeTooSkewed", date));
  server.then(answer(200, kBody));
  EXPECT_TRUE(store().get("k", body));
  EXPECT_TRUE(server.requests().at(1).header("x-amz-date").starts_with("20130524T0000"));
  // It does not help: the same complaint is then final.
  server.then(error_answer(403, "RequestTimeTooSkewed", date));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), EACCES);
}

// The first PUT was stored, its answer lost; the second finds that "somebody" was there before.
TEST_F(HttpStoreRetryTest, CreationWhoseAnswerWasLostIsRecognisedAsOurs) {
  server.then(hang_up());
  server.then(error_answer(412, "PreconditionFailed"));
  server.then(answer(200, kBody));
  EXPECT_EQ(store().put("k", kBytes, {.mode = PutMode::create_only}).result, PutResult::stored);
}

TEST_F(HttpStoreRetryTest, ReplacementWhoseAnswerWasLostIsRecognisedAsOurs) {
  server.then(hang_up());
  server.then(error_answer(412, "PreconditionFailed"));
  server.then(answer(200, kBody, {{"ETag", "\"new\""}}));
  const auto outcome = store().put("k", kBytes, {.mode = PutMode::if_match, .etag = "\"old\""});
  EXPECT_EQ(outcome.result, PutResult::stored);
  EXPECT_EQ(outcome.etag, "\"new\"");
}

TEST_F(HttpStoreRetryTest, CreationThatSomebodyElseWonIsNotTakenForOurs) {
  server.then(hang_up());
  server.then(error_answer(412, "PreconditionFailed"));
  server.then(answer(200, "1234567x"));
  EXPECT_EQ(store().put("k", kBytes, {.mode = PutMode::create_only}).result, PutResult::exists);
  // Without a lost answer there is nothing to look up, even where the bytes would be the same.
  server.then(error_answer(412, "PreconditionFailed"));
  EXPECT_EQ(store().put("k", kBytes, {.mode = PutMode::create_only}).result, PutResult::exists);
  EXPECT_EQ(server.requests().size(), 4U);
}

TEST_F(HttpStoreRetryTest, ConflictOfCreatorsIsTriedAgain) {
  server.then(error_answer(409, "ConditionalRequestConflict"));
  server.then(answer(200));
  EXPECT_EQ(store().put("k", kBytes, {.mode = PutMode::create_only}).result, PutResult::stored);
}

// libcurl sends a request a second time by itself when a kept connection dies: a creation must not
// meet its own first copy.
// What the attempts of a put leave open.
TEST_F(HttpStoreRetryTest, WhatWasSentAndNotAnsweredIsInDoubtWhateverComesAfterIt) {
  struct Case {
    const char* name;
    testing::Answer first;
    bool is_open;
  };
  const std::vector<Case> cases{
      {"connection closed", hang_up(), true},
      {"gateway timeout", answer(504, "<html/>"), true},
      {"internal error", error_answer(500, "InternalError"), true},
      {"busy, says a proxy", answer(503, "<html/>"), true},
      {"busy, says S3", error_answer(503, "SlowDown"), false},
      {"conflict", error_answer(409, "OperationAborted"), false},
      {"answered", answer(200), false},
  };
  for (const Case& each : cases) {
    server.then(each.first);
    if (std::string(each.name) != "answered") server.then(answer(200));
    Doubt doubt;
    store().put("k", kBytes, {.doubt = &doubt});
    EXPECT_EQ(doubt.is_open, each.is_open) << each.name;
    EXPECT_FALSE(doubt.was_given_up) << each.name;
  }
}

TEST_F(HttpStoreRetryTest, WhatIsGivenUpForItsSilenceIsToldSo) {
  config.timeout_ms = 4000;  // a quarter of it
  for (const bool is_counted : {false, true}) {
    if (is_counted) config.may_write = [] { return true; };
    HttpStore patient(config, clock);
    server.then(answer(200, "12").stall_after(1));
    server.then(answer(200));
    Doubt doubt;
    patient.put("k", kBytes, {.doubt = &doubt});
    EXPECT_TRUE(doubt.is_open && doubt.was_given_up) << is_counted;
  }
}

TEST_F(HttpStoreRetryTest, WhatWasNeverSentIsNotInDoubt) {
  config.retries = 1;
  place.endpoint = Endpoint::parse("http://127.0.0.1:1");
  Doubt doubt;
  EXPECT_EQ(errno_of([&] { store().put("k", kBytes, {.doubt = &doubt}); }), EIO);
  EXPECT_FALSE(doubt.is_open);
}

TEST_F(HttpStoreRetryTest, PutsWhoseCallerDealsWithDoubtsKeepTheirConnection) {
  for (int i = 0; i < 3; ++i) server.then(answer(200));
  Doubt doubt;
  for (int i = 0; i < 3; ++i) {
    store().put("k", kBytes, {.mode = PutMode::create_only, .doubt = &doubt});
  }
  EXPECT_EQ(server.connections(), 1U);
}

TEST_F(HttpStoreRetryTest, CreationNeverUsesAKeptConnection) {
  server.then(answer(200, kBody));
  store().get("k", body);
  server.then(answer(200));
  store().put("k", kBytes, {.mode = PutMode::create_only});
  EXPECT_EQ(server.connections(), 2U);
}

TEST_F(HttpStoreRetryTest, RemovalThatIsBusyForOneKeyIsTriedAgain) {
  server.then(answer(200,
                     "<DeleteResult><Error><Key>b</Key><Code>SlowDown</Code></Error>"
                     "</DeleteResult>"));
  server.then(answer(200, "<DeleteResult/>"));
  store().remove(std::vector<std::string>{"a", "b"});
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST_F(HttpStoreRetryTest, ConnectionsAreKept) {
  for (int i = 0; i < 10; ++i) server.then(answer(200, kBody));
  for (int i = 0; i < 10; ++i) store().get("k", body);
  EXPECT_EQ(server.connections(), 1U);
}

TEST_F(HttpStoreRetryTest, ConnectionsAreBoundedAndEverybodyGetsATurn) {
  config.connections = 2;
  Gate gate;
  for (int i = 0; i < 8; ++i) {
    server.then(answer(200, kBody).when_asked([&gate] { gate.wait(); }));
  }
  std::vector<std::thread> readers;
  readers.reserve(8);
  std::atomic<unsigned> read{0};
  store();
  for (int i = 0; i < 8; ++i) {
    readers.emplace_back([&] {
      std::array<std::byte, 8> mine{};
      if (store().get("k", mine)) ++read;
    });
  }
  gate.await_arrivals(2);
  gate.open();
  for (std::thread& each : readers) each.join();
  EXPECT_EQ(read, 8U);
  EXPECT_EQ(server.connections(), 2U);
}

TEST_F(HttpStoreRetryTest, ServiceThatFallsSilentIsATimeout) {
  config.timeout_ms = 4000;
  config.retries = 0;
  server.then(answer(200, kBody).stall_after(3));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), ETIMEDOUT);
}

TEST_F(HttpStoreRetryTest, WaitForAConnectionEndsAtTheTimeout) {
  config.timeout_ms = 300;
  config.connections = 1;
  config.retries = 0;
  server.then(answer(200, kBody).stall_after(0));
  std::thread first([&] { EXPECT_EQ(errno_of([&] { store().get("k", body); }), ETIMEDOUT); });
  while (server.requests().empty()) std::this_thread::yield();
  std::array<std::byte, 8> mine{};
  EXPECT_THROW(store().get("k", mine), Error);
  first.join();
}

TEST_F(HttpStoreRetryTest, ShutdownLetsLastWritesAndTheirReadsPass) {
  config.stopping = [] { return true; };
  server.then(answer(503, ""));
  server.then(answer(200, ""));
  server.then(answer(200, kBody));
  EXPECT_EQ(errno_of([&] { store().put("k", body, {}); }), 0);
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), 0);
}

// Not with ESHUTDOWN, which asks a cache above to try again for 15 s.
TEST_F(HttpStoreRetryTest, ShutdownEndsAWriteThatHangsWhenTheGraceIsOver) {
  const auto expect_given_up = [&](const std::string& key) {
    try {
      store().put(key, body, {});
      FAIL() << key;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ETIMEDOUT) << error.what();
      EXPECT_NE(std::string(error.what()).find("stop-timeout"), std::string::npos) << error.what();
    }
  };
  config.timeout_ms = 60'000;
  config.stopping = [] { return true; };
  server.then(answer(200, kBody).stall_after(3));
  std::atomic<bool> over{false};
  // Less than the timeout in all, in steps: the grace begins when the stop is noticed.
  std::thread passing_time([&] {
    for (int passed_s = 0; passed_s < 55 && !over; passed_s += 5) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      clock.advance(std::chrono::seconds(5));
    }
  });
  expect_given_up("k");
  over = true;
  passing_time.join();
  server.then(answer(503, ""));
  expect_given_up("l");
}

TEST_F(HttpStoreRetryTest, ShutdownEndsAReadThatHangs) {
  std::atomic<bool> stopping{false};
  config.stopping = [&stopping] { return stopping.load(); };
  server.then(answer(200, kBody).stall_after(3).when_asked([&stopping] { stopping = true; }));
  EXPECT_EQ(errno_of([&] { store().get("k", body); }), ESHUTDOWN);
}

// Credentials that are renewed as `renewed` when the service rejects the first ones.
std::shared_ptr<CredentialSource> renewable(const std::string& renewed) {
  return std::make_shared<CredentialSource>(
      Credentials{"OLD", "s", "t"}, "somewhere",
      [=] {
        return Credentials{renewed, "s", "t"};
      },
      [] { return std::chrono::system_clock::now(); });
}

TEST_F(HttpStoreRetryTest, RejectedCredentialsAreRenewedAndTheRequestSentAgain) {
  for (const auto& [status, code] : {std::pair(400, "ExpiredToken"), std::pair(403, "InvalidToken"),
                                     std::pair(403, "InvalidAccessKeyId"), std::pair(401, "")}) {
    config.credentials = renewable("NEW");
    config.retries = 0;
    HttpStore renewing(config, clock);
    const std::size_t before = server.requests().size();
    server.then(error_answer(status, code));
    server.then(answer(200));
    EXPECT_EQ(renewing.put("k", kBytes, {}).result, PutResult::stored) << code;
    const auto seen = server.requests();
    ASSERT_EQ(seen.size(), before + 2) << code;
    EXPECT_NE(seen[before].header("authorization").find("Credential=OLD/"), std::string::npos);
    EXPECT_NE(seen[before + 1].header("authorization").find("Credential=NEW/"), std::string::npos);
    EXPECT_EQ(seen[before + 1].body, kBody);
  }
}

TEST_F(HttpStoreRetryTest, CredentialsThatStayRejectedAreAnError) {
  config.credentials = renewable("OLD");
  server.then(error_answer(400, "ExpiredToken"));
  server.then(error_answer(400, "ExpiredToken"));
  EXPECT_EQ(errno_of([&] { store().put("k", kBytes, {}); }), EACCES);
  EXPECT_EQ(server.requests().size(), 2U);
  server.then(error_answer(400, "ExpiredToken"));
  EXPECT_EQ(errno_of([&] { store().put("k", kBytes, {}); }), EACCES);
  EXPECT_EQ(server.requests().size(), 3U) << "the same ones are not tried twice every time";
}

}  // namespace
}  // namespace nbdstack
