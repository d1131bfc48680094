#include "plugins/s3/aws/retry.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "common/error.hpp"
#include "tests/unit/fakes/fake_clock.hpp"

namespace nbdstack {
namespace {

using namespace std::chrono_literals;
using testing::FakeClock;
using Kind = TransportFailure::Kind;

const Failure kPasses{.may_pass = true, .code = EIO, .reason = "busy"};

struct Outcome {
  unsigned attempts = 0;
  int code = 0;
  std::string message;
  Duration slept{};
};

// Runs an operation whose every attempt fails as `failure` says, and takes `duration`.
Outcome run_failing(RetryPolicy policy, const Failure& failure, Duration duration = 0s,
                    std::uint64_t seed = 1) {
  FakeClock clock;
  Retrier retrier(policy, clock, seed);
  Outcome outcome;
  try {
    retrier.run("GET key", [&](const Attempt& attempt) {
      outcome.attempts = attempt.number;
      clock.advance(duration);
      return failure;
    });
  } catch (const Error& error) {
    outcome.code = error.code();
    outcome.message = error.what();
  }
  outcome.slept = clock.slept() - outcome.attempts * duration;
  return outcome;
}

bool status_passes(int status, const char* code = "") {
  return failure_of(status, {.code = code}, std::nullopt).may_pass;
}
int status_errno(int status, const char* code = "") {
  return failure_of(status, {.code = code}, std::nullopt).code;
}

TEST(Retry, WhatMayPassIsTriedAgainUntilItDoes) {
  FakeClock clock;
  Retrier retrier({}, clock, 1);
  unsigned attempts = 0;
  retrier.run("GET key", [&](const Attempt& attempt) -> std::optional<Failure> {
    attempts = attempt.number;
    if (attempts < 4) return kPasses;
    return std::nullopt;
  });
  EXPECT_EQ(attempts, 4U);
}

TEST(Retry, WhatWillNotPassFailsAtOnce) {
  const Outcome outcome = run_failing({}, {.code = EACCES, .reason = "403 AccessDenied"});
  EXPECT_EQ(outcome.attempts, 1U);
  EXPECT_EQ(outcome.slept, 0s);
  EXPECT_EQ(outcome.code, EACCES);
  EXPECT_EQ(outcome.message, "GET key: 403 AccessDenied");
}

TEST(Retry, NumberOfAttemptsIsABound) {
  const Outcome outcome = run_failing({.retries = 3, .timeout = 1h}, kPasses);
  EXPECT_EQ(outcome.attempts, 4U);
  EXPECT_EQ(outcome.code, EIO);
  EXPECT_NE(outcome.message.find("GET key: gave up after 4 attempts"), std::string::npos);
  EXPECT_NE(outcome.message.find("busy"), std::string::npos);
  EXPECT_EQ(run_failing({.retries = 0}, kPasses).attempts, 1U);
}

TEST(Retry, WhatCameBeforeTheLastFailureIsToldToo) {
  FakeClock clock;
  Retrier retrier({.retries = 1, .timeout = 1h}, clock, 1);
  try {
    retrier.run("GET key", [](const Attempt& attempt) {
      return Failure{.may_pass = true, .reason = attempt.number == 1 ? "busy" : "no place"};
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no place; before that: busy"), std::string::npos);
  }
}

TEST(Retry, AnOutageThatIsShorterThanTheTimeoutPassesUnnoticed) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    FakeClock clock;
    Retrier retrier({.timeout = 60s}, clock, seed);
    const TimePoint back = clock.now() + 25s;
    bool done = false;
    retrier.run("PUT key", [&](const Attempt&) -> std::optional<Failure> {
      clock.advance(1ms);  // refused at once
      if (clock.now() < back) return failure_of({Kind::connection, "refused"});
      done = true;
      return std::nullopt;
    });
    EXPECT_TRUE(done) << seed;
  }
}

TEST(Retry, AnObjectThatIsDamagedAgainAndAgainIsNotReadUntilTheTimeout) {
  Failure damaged = kPasses;
  damaged.is_damage = true;
  const Outcome outcome = run_failing({.timeout = 1h}, damaged);
  EXPECT_EQ(outcome.attempts, kDamagedAttempts_max);
  EXPECT_EQ(outcome.code, EIO);
}

TEST(Retry, TimeoutIsABoundHoweverManyRetriesAreLeft) {
  const Outcome outcome = run_failing({.retries = 1000000, .timeout = 10s}, kPasses, 1s);
  EXPECT_EQ(outcome.code, ETIMEDOUT);
  EXPECT_LE(outcome.slept + outcome.attempts * Duration(1s), Duration(11s));
  EXPECT_GE(outcome.attempts, 3U);
}

TEST(Retry, TheTimeInWhichAnAttemptGetsOnDoesNotCount) {
  FakeClock clock;
  Retrier retrier({.timeout = 10s, .first_pause = 0s, .longest_pause = 0s}, clock, 1);
  std::vector<Duration> left;
  EXPECT_THROW(retrier.run("PUT key",
                           [&](const Attempt& attempt) {
                             left.push_back(attempt.time_left);
                             clock.advance(100s);
                             Failure broken = kPasses;  // after 97 s on a slow line
                             broken.put_off = 97s;
                             return broken;
                           }),
               Error);
  EXPECT_EQ(left, (std::vector<Duration>{10s, 7s, 4s, 1s}));
}

TEST(Retry, AttemptsAreToldTheTimeThatIsLeft) {
  FakeClock clock;
  Retrier retrier({.retries = 1, .timeout = 10s, .first_pause = 0s}, clock, 1);
  std::vector<Duration> left;
  EXPECT_THROW(retrier.run("GET key",
                           [&](const Attempt& attempt) {
                             left.push_back(attempt.time_left);
                             clock.advance(4s);
                             return kPasses;
                           }),
               Error);
  EXPECT_EQ(left, (std::vector<Duration>{10s, 6s}));
}

TEST(Retry, PausesAreRandomPartsOfBoundsThatDouble) {
  // 10 pauses of at most 1, 2, 4, 8, 8 ... seconds: 63 at most, half of it on average.
  const RetryPolicy policy{.retries = 10, .timeout = 24h, .first_pause = 1s, .longest_pause = 8s};
  Duration total{};
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const Outcome outcome = run_failing(policy, kPasses, 0s, seed);
    EXPECT_LE(outcome.slept, 63s);
    total += outcome.slept;
  }
  EXPECT_GT(total / 100, 25s);
  EXPECT_LT(total / 100, 38s);
}

TEST(Retry, SameSeedGivesTheSamePauses) {
  EXPECT_EQ(run_failing({}, kPasses, 0s, 7).slept, run_failing({}, kPasses, 0s, 7).slept);
  EXPECT_NE(run_failing({}, kPasses, 0s, 7).slept, run_failing({}, kPasses, 0s, 8).slept);
}

TEST(Retry, RetryAfterIsTheLeastPause) {
  Failure failure = kPasses;
  failure.retry_after = 30s;
  const Outcome outcome = run_failing({.retries = 2, .timeout = 1h}, failure);
  EXPECT_GE(outcome.slept, 60s);
}

TEST(Retry, RetryAfterBeyondTheTimeoutEndsTheOperationAtOnce) {
  Failure failure = kPasses;
  failure.retry_after = 61s;
  const Outcome outcome = run_failing({.timeout = 60s}, failure);
  EXPECT_EQ(outcome.attempts, 1U);
  EXPECT_EQ(outcome.slept, 0s);
  EXPECT_EQ(outcome.code, ETIMEDOUT);
}

TEST(Retry, StopOfTheServerEndsTheWait) {
  FakeClock clock;
  Retrier retrier({}, clock, 1);
  try {
    retrier.run("GET key", [](const Attempt&) -> std::optional<Failure> {
      throw Error(ESHUTDOWN, "stopping");
    });
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ESHUTDOWN);
  }
}

TEST(RetryClasses, StatusesThatMayPass) {
  for (const int status : {408, 409, 423, 425, 429, 499, 500, 502, 503, 504, 509, 520,
                           521, 522, 523, 524, 525, 526, 527, 529, 530, 561, 598, 599}) {
    EXPECT_TRUE(status_passes(status)) << status;
  }
  for (const char* code : {"RequestTimeout", "BadDigest", "SlowDown", "ThrottlingException",
                           "KMS.ThrottlingException", "TooManyRequests", "InternalError"}) {
    EXPECT_TRUE(status_passes(400, code)) << code;
    EXPECT_TRUE(failure_of({.code = code}).may_pass) << code;
  }
}

TEST(RetryClasses, StatusesThatWillNotPass) {
  for (const int status :
       {301, 307, 400, 401, 403, 404, 405, 411, 412, 416, 501, 505, 506, 507, 508, 510, 511}) {
    EXPECT_FALSE(status_passes(status)) << status;
  }
  for (const char* code : {"QuotaExceeded", "XMinioStorageFull", "InvalidObjectState",
                           "KMS.DisabledException", "KMS.KMSInvalidStateException"}) {
    EXPECT_FALSE(status_passes(503, code)) << code;
    EXPECT_FALSE(failure_of({.code = code}).may_pass) << code;
  }
}

TEST(RetryClasses, ErrnoFitsWhatTheServiceSaid) {
  EXPECT_EQ(status_errno(403, "AccessDenied"), EACCES);
  EXPECT_EQ(status_errno(400, "ExpiredToken"), EACCES);
  EXPECT_EQ(status_errno(401), EACCES);
  EXPECT_EQ(status_errno(403, "QuotaExceeded"), ENOSPC);
  EXPECT_EQ(status_errno(507), ENOSPC);
  EXPECT_EQ(status_errno(400, "XMinioStorageFull"), ENOSPC);
  EXPECT_EQ(status_errno(403, "InvalidObjectState"), EACCES);
  EXPECT_EQ(status_errno(400, "KMS.DisabledException"), EACCES);
  EXPECT_EQ(status_errno(404, "NoSuchBucket"), ENOENT);
  EXPECT_EQ(status_errno(504), ETIMEDOUT);
  EXPECT_EQ(status_errno(500, "InternalError"), EIO);
}

TEST(RetryClasses, TransportFailures) {
  EXPECT_TRUE(failure_of({Kind::connection, "reset"}).may_pass);
  EXPECT_TRUE(failure_of({Kind::timeout, "slow"}).may_pass);
  EXPECT_EQ(failure_of({Kind::timeout, "slow"}).code, ETIMEDOUT);
  EXPECT_FALSE(failure_of({Kind::too_long, "long"}).may_pass);
  EXPECT_FALSE(failure_of({Kind::setup, "certificate"}).may_pass);
  const Failure proxy = failure_of({Kind::proxy, "CONNECT tunnel failed, response 407"});
  EXPECT_FALSE(proxy.may_pass);
  EXPECT_NE(proxy.reason.find("https_proxy"), std::string::npos) << proxy.reason;
}

TEST(RetryClasses, MessageSaysWhatToDo) {
  EXPECT_NE(failure_of(403, {.code = "InvalidObjectState"}, {}).reason.find("restore it"),
            std::string::npos);
  EXPECT_NE(failure_of(400, {.code = "KMS.DisabledException"}, {}).reason.find("KMS key"),
            std::string::npos);
  EXPECT_NE(failure_of(403, {.code = "InvalidAccessKeyId"}, {}).reason.find("access-key"),
            std::string::npos);
}

TEST(RetryClasses, ABucketWhoseRequestersPayIsToldByTheServicesWordsAlone) {
  const auto is_told = [](int status, const ServiceError& error) {
    return failure_of(status, error, {}).reason.find("requester-pays=true") != std::string::npos;
  };
  EXPECT_TRUE(is_told(403, {.code = "AccessDenied", .message = "Requester Pays bucket"}));
  EXPECT_TRUE(is_told(400, {.code = "UserProjectMissing",
                            .message = "Bucket is a requester pays bucket but no user project "
                                       "provided."}));
  EXPECT_TRUE(is_told(403, {.code = "RequesterPaysRequired"}));
  EXPECT_FALSE(is_told(403, {.code = "AccessDenied", .message = "Access Denied"}));
  EXPECT_FALSE(is_told(403, {.code = "AccessDenied", .message = "the requester may not"}));
}

}  // namespace
}  // namespace nbdstack
