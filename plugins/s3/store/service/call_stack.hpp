// The parts that each call passes on its way to the service and back. Each has one concern;
// HttpStore's constructor puts them together, in this order:
//
//   part            concern                         why here
//   within_grace    how long a call goes on once    above retried: else each attempt begins the
//                   the server stops                grace anew, and counts as begun after the stop
//   retried         another attempt after what      above while_owned: else attempts are sent after
//                   may pass                        the right to write has ended
//   while_owned     a change is sent only while     beneath retried: asked before each attempt
//                   this server may write           (and before each piece of one)
//   judged          what the answer means, what     beneath retried, which needs the failure
//                   the attempt leaves in doubt
//   signed_by_...   credentials, and new ones if    beneath judged: a refusal of old credentials is
//                   the service refuses them        no failure before new ones have been tried
//   placed          the region of the bucket        the same for an answer from another region
//   CallSender      the signature, HTTP
//
// Metrics are one more part, counted() of request_metrics.hpp, between placed and CallSender: each
// request counts. Above within_grace it would count operations, between retried and while_owned
// attempts.
//
// tests/unit/s3/store/service/call_stack_test.cpp turns the order round and shows what breaks.
//
// Each function takes the part below. Arguments by reference outlive the stack.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "common/metrics/cells.hpp"
#include "plugins/s3/aws/credential_source.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/store/service/bucket_location.hpp"
#include "plugins/s3/store/service/express_session.hpp"
#include "plugins/s3/store/service/s3_call.hpp"
#include "plugins/s3/store/service/shutdown_grace.hpp"

namespace nbdstack {

// The right to write; empty if it never ends.
using MayWrite = std::function<bool()>;
// Throws Error(ESHUTDOWN) for a change without the right.
void check_right(const S3Call& call, const MayWrite& may_write);

PerformCall within_grace(PerformCall below, ShutdownGrace& grace);

// The right is checked in the pauses, too: what can no longer be sent does not wait.
// `retries` counts what is sent again.
PerformCall retried(PerformCall below, Retrier& retrier, Clock& clock, const MayWrite& may_write,
                    Counter retries = {});

PerformCall while_owned(PerformCall below, const MayWrite& may_write);

// The service's time, which signatures carry: this machine's, corrected by the service's answers.
class ServiceClock {
 public:
  [[nodiscard]] std::int64_t ahead_s() const { return ahead_s_; }
  // Returns whether `response` refuses the time of a signature that was made with `ahead_s`, and
  // another one may pass now.
  bool learn(std::int64_t ahead_s, const HttpResponse& response);

 private:
  std::atomic<std::int64_t> ahead_s_{0};
};

PerformCall judged(PerformCall below, BucketLocation& location, ServiceClock& clock);

PerformCall signed_by_user(PerformCall below, CredentialSource& credentials);

// For a directory bucket. `create` performs CreateSession, which has these headers.
PerformCall signed_by_session(PerformCall below, ExpressSession& session, PerformCall create,
                              const HeaderList& headers);

PerformCall placed(PerformCall below, BucketLocation& location);

// The lowest part. Any thread.
class CallSender {
 public:
  // Connects to nothing yet. `headers` go with every request.
  CallSender(const HttpClientConfig& http, TransferTime time, const HeaderList& headers,
             const ServiceClock& service_clock, Clock& clock)
      : http_(http), time_(time), headers_(headers), service_clock_(service_clock), clock_(clock) {}

  // Sets call.outcome. Throws what HttpClient::perform() throws.
  std::optional<Failure> operator()(S3Call& call, const CallLimits& limits);

 private:
  const HttpClientConfig http_;
  const TransferTime time_;
  const HeaderList headers_;
  const ServiceClock& service_clock_;
  Clock& clock_;
  std::once_flag client_made_;
  std::unique_ptr<HttpClient> client_;
};

}  // namespace nbdstack
