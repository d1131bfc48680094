// Decides which failures are retried, when, and for how long.
//
//   retried: may pass by itself    connection refused, reset or cut short; silence (timeout); any
//                                  5xx, those of proxies too (509, 520 to 530, 598, 599), except
//                                  those below; 408, 409 (a concurrent operation), 423, 425, 429,
//                                  499; whatever the status, a code of this kind (SlowDown,
//                                  RequestTimeout, Throttling ...); a clock that was wrong and has
//                                  been corrected; a body damaged on the way in or out
//   not retried: will recur        whatever the status, a code of this kind: quota, an archived
//                                  object, a key of KMS that is disabled; 501, 505, 506, 507, 508,
//                                  510, 511; every other status: wrong key (401, 403), no such
//                                  bucket, redirect, a malformed request; certificates; an
//                                  oversized body
//
// The pause before the next attempt is a random part of a bound that doubles (full jitter, after
// Brooker's "Exponential Backoff And Jitter"): clients that failed together do not come back
// together. A Retry-After of the service is the minimum pause.
//
// An operation ends at its `timeout` with its last failure: a shorter outage passes unnoticed,
// however many connections were refused meanwhile. Time in which an attempt makes progress does not
// count: a slow line is no outage. (So it lasts for at most `timeout` plus the time in which its
// attempts carry bytes, which http_client.hpp bounds.) A number of attempts ends it earlier in two
// cases: if the user has set one (`retries`), and if every body was damaged, because then the
// object itself is.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <random>
#include <string>

#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/aws/service_error.hpp"
#include "plugins/s3/http/http_client.hpp"

namespace nbdstack {

// One attempt that failed.
struct Failure {
  bool may_pass = false;
  int code = EIO;      // the errno if this is the last attempt
  std::string reason;  // for people: status, the service's code and words, the way out
  std::optional<Duration> retry_after{};
  bool is_damage = false;     // the answer's body was not the one that had been stored
  std::string request_ids{};  // request_ids.hpp
  Duration put_off{};         // the part of the attempt's time that made progress: not counted

  // Returns the reason, and the ids by which the service's operators find the request.
  [[nodiscard]] std::string in_words() const;
};

Failure failure_of(const TransportFailure& failure);
// Returns a text such as "the service answered 403 AccessDenied: no".
std::string words_of(int status, const ServiceError& error);
// Returns the failure of an answer that is no success. `error` is parsed from its body.
Failure failure_of(int status, const ServiceError& error, std::optional<Duration> retry_after);
// Returns the failure of one key in a DeleteObjects answer: a code without a status.
Failure failure_of(const ServiceError& error);

inline constexpr unsigned kRetries_unlimited = std::numeric_limits<unsigned>::max();
inline constexpr unsigned kDamagedAttempts_max = 9;

struct RetryPolicy {
  unsigned retries = kRetries_unlimited;  // after the first attempt
  Duration timeout = std::chrono::seconds(60);
  Duration first_pause = std::chrono::milliseconds(200);  // bound of the first pause
  Duration longest_pause = std::chrono::seconds(10);      // Retry-After may be longer
};

struct Attempt {
  unsigned number;     // from 1
  Duration time_left;  // until the operation's timeout, unless the attempt makes progress
};

class Retrier {
 public:
  // `clock` outlives the Retrier. The same seed gives the same pauses.
  Retrier(RetryPolicy policy, Clock& clock, std::uint64_t seed)
      : policy_(policy), clock_(clock), random_(seed) {}

  // Calls `attempt` until it returns nothing (success). Throws Error with the last failure, the
  // `operation` ("PUT s3://disk/vol/0000") and, if there were several, the number of attempts.
  // Errors thrown by `attempt` propagate at once. `is_over` is called now and then while waiting;
  // if it returns true, run() throws Error(ESHUTDOWN). May be called by any thread.
  void run(const std::string& operation,
           const std::function<std::optional<Failure>(const Attempt&)>& attempt,
           const std::function<bool()>& is_over = {});

 private:
  // Returns nothing if there is not enough time for another attempt.
  std::optional<Duration> pause_after(unsigned attempts, const Failure& failure,
                                      Duration time_left);
  Duration jittered(unsigned attempts);
  void wait(Duration pause, const std::string& operation, const std::function<bool()>& is_over);

  const RetryPolicy policy_;
  Clock& clock_;
  Mutex mutex_;
  std::mt19937_64 random_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
