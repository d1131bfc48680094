// The order of the parts that a call passes, and what breaks in another one.
#include "plugins/s3/store/service/call_stack.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/error.hpp"
#include "common/metrics/metric.hpp"
#include "common/metrics/registry.hpp"
#include "common/sync/request_trace.hpp"
#include "plugins/s3/store/service/request_metrics.hpp"
#include "tests/unit/fakes/fake_clock.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CallStackTest : public ::testing::Test {
 protected:
  static constexpr Duration kTook = seconds(8);  // by each attempt
  static constexpr Duration kGrace = seconds(20);

  // The lowest part: a service that is busy until attempt `succeeds_at`. It looks at `is_over` like
  // the real sender, but not at `may_send`: the parts above are what is tested.
  PerformCall service() {
    return [this](S3Call& /*call*/, const CallLimits& limits) -> std::optional<Failure> {
      ++sent_;
      if (!may_write_()) ++sent_without_right_;
      clock_.advance(kTook);
      if (limits.is_over && limits.is_over()) throw Error(ESHUTDOWN, "given up");
      if (sent_ == succeeds_at_) return std::nullopt;
      return Failure{.may_pass = true, .reason = "busy"};
    };
  }

  // The parts that are turned round.
  PerformCall grace(PerformCall below) { return within_grace(std::move(below), grace_); }
  PerformCall retry(PerformCall below) {
    return retried(std::move(below), retrier_, clock_, may_write_);
  }
  PerformCall own(PerformCall below) { return while_owned(std::move(below), may_write_); }
  PerformCall count(unsigned& calls, PerformCall below) {
    return [&calls, below = std::move(below)](S3Call& call, const CallLimits& limits) {
      ++calls;
      return below(call, limits);
    };
  }

  // Performs a PUT and returns the errno of its failure.
  int put_by(const PerformCall& stack) {
    S3Call call{.operation = s3_operation::kPut, .key = "k", .name = "PUT k"};
    try {
      stack(call, {});
    } catch (const Error& error) {
      message_ = error.what();
      return error.code();
    }
    return 0;
  }

  testing::FakeClock clock_;
  TimePoint right_ends_ = TimePoint::max();
  MayWrite may_write_ = [this] { return clock_.now() < right_ends_; };
  bool stopped_ = false;
  ShutdownGrace grace_{[this] { return stopped_; }, clock_, kGrace};
  // Pauses so briefly that it looks once only whether to go on.
  Retrier retrier_{{.timeout = seconds(600), .first_pause = milliseconds(90)}, clock_, 1};
  unsigned succeeds_at_ = 0;  // 0: never
  unsigned sent_ = 0;
  unsigned sent_without_right_ = 0;
  std::string message_;
};

// The right ends in the pause after the first attempt, behind the last look at it.
TEST_F(CallStackTest, TheRightToWriteIsAskedBeneathTheRetryBecauseItMayEndBetweenAttempts) {
  right_ends_ = clock_.now() + kTook + std::chrono::nanoseconds(1);
  EXPECT_EQ(put_by(retry(own(service()))), ESHUTDOWN);
  EXPECT_NE(message_.find("right to write"), std::string::npos) << message_;
  EXPECT_EQ(sent_, 1U);
  EXPECT_EQ(sent_without_right_, 0U);
}

TEST_F(CallStackTest, TheOtherWayRoundAnAttemptWouldBeginWithoutTheRight) {
  right_ends_ = clock_.now() + kTook + std::chrono::nanoseconds(1);
  EXPECT_EQ(put_by(own(retry(service()))), ESHUTDOWN);
  EXPECT_EQ(sent_without_right_, 1U);
}

// An attempt on its way is told, and what waits does not wait on.
TEST_F(CallStackTest, TheEndOfTheRightEndsAnAttemptAndAPause) {
  right_ends_ = clock_.now() + milliseconds(1);
  EXPECT_EQ(put_by(retry(own(service()))), ESHUTDOWN);
  EXPECT_NE(message_.find("right to write"), std::string::npos) << message_;
  right_ends_ = clock_.now() + kTook;  // the pause is the first to look at it
  EXPECT_EQ(put_by(retry(service())), ESHUTDOWN);
  EXPECT_EQ(sent_, 2U);
}

TEST_F(CallStackTest, ReadsNeedNoRight) {
  right_ends_ = clock_.now();
  succeeds_at_ = 2;
  S3Call call{.operation = s3_operation::kGet, .key = "k"};
  EXPECT_FALSE(retry(own(service()))(call, {}).has_value());
  EXPECT_EQ(sent_, 2U);
}

TEST_F(CallStackTest, TheGraceAtShutdownIsOneForAllAttempts) {
  stopped_ = true;
  EXPECT_EQ(put_by(grace(retry(own(service())))), ETIMEDOUT);
  EXPECT_NE(message_.find("stop-timeout"), std::string::npos) << message_;
  EXPECT_EQ(sent_, 4U) << "of 8 s each: the grace of 20 s begins when the first of them looks";
}

TEST_F(CallStackTest, BeneathTheRetryTheGraceWouldBeginAnewWithEachAttempt) {
  stopped_ = true;
  EXPECT_EQ(put_by(retry(grace(own(service())))), ETIMEDOUT);
  EXPECT_NE(message_.find("for timeout="), std::string::npos) << message_;
  EXPECT_GT(sent_, 20U);
}

TEST_F(CallStackTest, AnEndedRightIsReportedAlsoWhenTheGraceIsOver) {
  stopped_ = true;
  EXPECT_EQ(put_by(grace(retry(own(service())))), ETIMEDOUT);
  right_ends_ = clock_.now();
  EXPECT_EQ(put_by(grace(retry(own(service())))), ESHUTDOWN);
  EXPECT_NE(message_.find("right to write"), std::string::npos) << message_;
}

TEST_F(CallStackTest, ACounterCountsOperationsAboveAndAttemptsBeneathTheRetry) {
  succeeds_at_ = 3;
  unsigned operations = 0;
  unsigned attempts = 0;
  EXPECT_EQ(put_by(count(operations, grace(retry(count(attempts, own(service())))))), 0);
  EXPECT_EQ(operations, 1U);
  EXPECT_EQ(attempts, 3U);
}

// The service is busy twice; the third attempt is ended by this server while it is under way.
TEST_F(CallStackTest, EachRequestIsAMetricAndEachRepetitionTwo) {
  MetricsRegistry registry("vm1", "s3");
  const Metrics metrics(registry, {});
  const PerformCall answering = [this](S3Call& call, const CallLimits&) -> std::optional<Failure> {
    clock_.advance(kTook);
    if (++sent_ == 3) throw Error(ESHUTDOWN, "given up");
    call.outcome = HttpResponse{.status = 503, .text = "busy"};
    return Failure{.may_pass = true, .reason = "busy"};
  };
  const PerformCall stack = retried(counted(answering, metrics, clock_), retrier_, clock_,
                                    may_write_, metrics.counter(metric::kS3Retries));
  RequestTrace trace;
  {
    const RequestTrace::Scope scope(&trace);
    EXPECT_EQ(put_by(stack), ESHUTDOWN);
  }
  EXPECT_THAT(trace.notes(), ElementsAre("PutObject 'k' code=503 bytes=4 ms=8000.000",
                                         "PutObject 'k' code=503 bytes=4 ms=8000.000",
                                         "PutObject 'k' code=none bytes=0 ms=8000.000"));
  const std::string text = registry.text();
  const std::string op = R"({stack="vm1",layer="s3",op="PutObject")";
  EXPECT_THAT(text, HasSubstr("nbdstack_s3_requests_total" + op + R"(,code="503"} 2)"));
  EXPECT_THAT(text, HasSubstr("nbdstack_s3_requests_total" + op + R"(,code="none"} 1)"));
  EXPECT_THAT(text, HasSubstr("nbdstack_s3_received_bytes_total" + op + "} 8\n"));
  EXPECT_THAT(text, HasSubstr("nbdstack_s3_retries_total{stack=\"vm1\",layer=\"s3\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("nbdstack_s3_request_duration_seconds_count" + op + "} 3\n"));
}

}  // namespace
}  // namespace nbdstack
