#include "plugins/s3/aws/retry.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

// The interval at which a pause checks whether waiting has become pointless.
constexpr Duration kLookEvery = std::chrono::milliseconds(100);

// An attempt that has less time than this is not worth starting.
constexpr Duration kAttempt_min = std::chrono::milliseconds(10);

// 407, or a proxy that refuses to connect to the service.
constexpr const char* kProxyAdvice =
    " (check https_proxy, http_proxy and no_proxy in the environment: a proxy that asks for a user "
    "is http://USER:PASSWORD@HOST:PORT)";

template <typename... Names>
bool is_one_of(std::string_view code, Names... names) {
  return ((code == names) || ...);
}

// Includes the names of AWS's KMS, MinIO, Ceph, Wasabi and Backblaze.
bool is_quota(std::string_view code) {
  return is_one_of(code, "QuotaExceeded", "QuotaExceededException", "StorageQuotaExceeded",
                   "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientCapacity",
                   "storage_cap_exceeded");
}

bool is_of_kms(std::string_view code) {
  return code.starts_with("KMS.") && !code.ends_with("ThrottlingException");
}

// Returns whether the code means, whatever the status is, that the request was correct: it was
// slow, damaged on its way, or refused for the time being.
bool is_passing(std::string_view code) {
  return is_one_of(
      code, "RequestTimeout", "RequestTimeoutException", "IncompleteBody", "BadDigest",
      "XAmzContentSHA256Mismatch", "InternalError", "InternalFailure", "SlowDown", "SlowDownRead",
      "SlowDownWrite", "ServiceUnavailable", "ServerBusy", "Throttling", "ThrottlingException",
      "ThrottledException", "RequestThrottled", "RequestThrottledException", "RequestLimitExceeded",
      "TooManyRequests", "TooManyRequestsException", "BandwidthLimitExceeded", "OperationAborted",
      "ConditionalRequestConflict", "PriorRequestNotComplete", "KMS.ThrottlingException");
}

bool may_pass(int status, std::string_view code) {
  if (is_quota(code) || is_of_kms(code) ||
      is_one_of(code, "InvalidObjectState", "NotImplemented")) {
    return false;
  }
  if (is_passing(code)) return true;
  switch (status) {
    case 408:
    case 409:
    case 423:
    case 425:
    case 429:
    case 499:
      return true;
    case 501:
    case 505:
    case 506:
    case 507:
    case 508:
    case 510:
    case 511:
      return false;
    default:
      return status >= 500;
  }
}

int errno_of(int status, std::string_view code) {
  if (status == 507 || is_quota(code)) return ENOSPC;
  if (code == "NoSuchBucket") return ENOENT;
  // A refusal, which concerns that object only.
  if (is_of_kms(code) || code == "InvalidObjectState") return EACCES;
  if (status == 401 || status == 403 ||
      is_one_of(code, "AccessDenied", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken")) {
    return EACCES;
  }
  if (status == 408 || status == 504 || code == "RequestTimeout") return ETIMEDOUT;
  return EIO;
}

// AWS and Google spell it differently.
bool is_about_requester_pays(const ServiceError& error) {
  std::string words = error.code + " " + error.message;
  std::erase_if(words, [](unsigned char c) { return std::isalpha(c) == 0; });
  std::transform(words.begin(), words.end(), words.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return words.find("requesterpays") != std::string::npos;
}

// Returns the way out, if there is one.
std::string advice(int status, const ServiceError& error) {
  const std::string_view code = error.code;
  if (code == "InvalidAccessKeyId") return " (check access-key and secret-key)";
  if (code == "SignatureDoesNotMatch") {
    return " (check access-key and secret-key; a proxy must pass the Host header on as it is)";
  }
  if (is_one_of(code, "ExpiredToken", "InvalidToken")) return " (check session-token)";
  if (code == "RequestTimeTooSkewed") return " (check this machine's clock)";
  if (code == "NoSuchBucket") return " (check bucket and endpoint-url)";
  if (status == 407) return kProxyAdvice;
  if (status == 413 && code.empty()) {
    return " (a proxy before the service takes no bodies of this length, as nginx's "
           "client_max_body_size says: raise its limit)";
  }
  if (code == "InvalidObjectState") {
    return " (the object is archived: restore it, and keep the bucket's lifecycle rules from "
           "archiving this volume's objects)";
  }
  if (is_about_requester_pays(error)) {
    return " (the bucket's owner lets those pay who use it: requester-pays=true agrees to that)";
  }
  if (is_of_kms(code)) return " (check the KMS key that the bucket encrypts with)";
  if (is_quota(code)) return " (make room in the account or raise its quota)";
  return {};
}

}  // namespace

std::string Failure::in_words() const {
  return request_ids.empty() ? reason : fmt::format("{} ({})", reason, request_ids);
}

Failure failure_of(const TransportFailure& failure) {
  using Way = TransportFailure::Kind;
  const bool passes = failure.kind == Way::connection || failure.kind == Way::timeout;
  std::string reason = failure.message;
  if (failure.kind == Way::setup) reason += " (check endpoint-url, ca-file and tls-verify)";
  if (failure.kind == Way::proxy) reason += kProxyAdvice;
  return {.may_pass = passes,
          .code = failure.kind == Way::timeout ? ETIMEDOUT : EIO,
          .reason = std::move(reason)};
}

std::string words_of(int status, const ServiceError& error) {
  std::string words = fmt::format("the service answered {}", status);
  if (!error.code.empty()) words += " " + error.code;
  if (!error.message.empty()) words += ": " + error.message;
  return words;
}

Failure failure_of(int status, const ServiceError& error, std::optional<Duration> retry_after) {
  return {.may_pass = may_pass(status, error.code),
          .code = errno_of(status, error.code),
          .reason = words_of(status, error) + advice(status, error),
          .retry_after = retry_after};
}

Failure failure_of(const ServiceError& error) {
  return failure_of(is_passing(error.code)         ? 503
                    : error.code == "AccessDenied" ? 403
                                                   : 400,
                    error, std::nullopt);
}

void Retrier::run(const std::string& operation,
                  const std::function<std::optional<Failure>(const Attempt&)>& attempt,
                  const std::function<bool()>& is_over) {
  const TimePoint start = clock_.now();
  TimePoint deadline = start + policy_.timeout;
  std::optional<Failure> former;
  unsigned damaged = 0;
  for (unsigned number = 1;; ++number) {
    const std::optional<Failure> failure = attempt({number, deadline - clock_.now()});
    if (!failure) return;
    if (!failure->may_pass) {
      throw Error(failure->code, fmt::format("{}: {}", operation, failure->in_words()));
    }
    deadline += failure->put_off;
    const auto elapsed_s = std::chrono::duration<double>(clock_.now() - start).count();
    if (failure->is_damage) ++damaged;
    // The last attempt may have had no time or no place left to meet the real failure.
    const bool tells_more = former.has_value() && former->reason != failure->reason;
    const std::string more = tells_more ? "; before that: " + former->in_words() : "";
    if (number > policy_.retries || damaged == kDamagedAttempts_max) {
      throw Error(failure->code,
                  fmt::format("{}: gave up after {} attempts in {:.1f} s: {}{}", operation, number,
                              elapsed_s, failure->in_words(), more));
    }
    const auto pause = pause_after(number, *failure, deadline - clock_.now());
    if (!pause) {
      throw Error(
          ETIMEDOUT,
          fmt::format("{}: gave up after {} attempts in {:.1f} s, for timeout={}: {}{}", operation,
                      number, elapsed_s, std::chrono::duration<double>(policy_.timeout).count(),
                      failure->in_words(), more));
    }
    former = failure;
    log::debug("{}: attempt {} failed: {}; next in {:.2f} s", operation, number,
               failure->in_words(), std::chrono::duration<double>(*pause).count());
    wait(*pause, operation, is_over);
  }
}

void Retrier::wait(Duration pause, const std::string& operation,
                   const std::function<bool()>& is_over) {
  for (Duration left = pause; left > Duration::zero(); left -= kLookEvery) {
    if (is_over && is_over()) {
      throw Error(ESHUTDOWN, fmt::format("{}: given up: the server is shutting down", operation));
    }
    clock_.sleep_for(std::min(left, kLookEvery));
  }
}

std::optional<Duration> Retrier::pause_after(unsigned attempts, const Failure& failure,
                                             Duration time_left) {
  if (time_left < 2 * kAttempt_min) return std::nullopt;
  if (failure.retry_after && *failure.retry_after > time_left - kAttempt_min) {
    return std::nullopt;
  }
  // A long pause does not use up the time of the attempt after it.
  const Duration pause = std::min(jittered(attempts), time_left / 2);
  return std::max(pause, failure.retry_after.value_or(Duration::zero()));
}

Duration Retrier::jittered(unsigned attempts) {
  Duration bound = policy_.first_pause;
  for (unsigned doubled = 1; doubled < attempts && bound < policy_.longest_pause; ++doubled) {
    bound *= 2;
  }
  bound = std::min(bound, policy_.longest_pause);
  std::uniform_int_distribution<Duration::rep> part(0, bound.count());
  const MutexLock lock(mutex_);
  return Duration(part(random_));
}

}  // namespace nbdstack
