#include "plugins/s3/store/service/http_store.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <random>
#include <utility>

#include "common/error.hpp"
#include "common/metrics/metric.hpp"
#include "plugins/s3/store/service/request_metrics.hpp"
#include "plugins/s3/store/service/s3_answer.hpp"

namespace nbdstack {

using std::chrono::milliseconds;

namespace {

constexpr int kWrongFirstBytes_max = 3;

// Returns how long a connection may be silent.
std::chrono::seconds stall_timeout_of(const HttpStoreConfig& config) {
  const milliseconds share(config.timeout_ms / (config.time == TransferTime::whole ? 2 : 4));
  return std::max(std::chrono::floor<std::chrono::seconds>(share), std::chrono::seconds(1));
}

HttpClientConfig client_config_of(const HttpStoreConfig& config) {
  const milliseconds timeout(config.timeout_ms);
  return {.connections = config.connections,
          .connect_timeout = std::min(timeout, milliseconds(10'000)),
          .stall_timeout = stall_timeout_of(config),
          .crawl_timeout = timeout,
          .ca_file = config.ca_file,
          .tls_verify = config.tls_verify,
          .http2 = config.options.http2,
          .hedging = config.options.hedging,
          .upload_limit_bytes_s = config.options.upload_limit_bytes_s,
          .download_limit_bytes_s = config.options.download_limit_bytes_s};
}

std::optional<Failure> verify_by(const ObjectStore::Check& check, const ObjectInfo& object,
                                 std::span<const std::byte> body) {
  try {
    check(object, body);
    return std::nullopt;
  } catch (const Error& error) {
    if (error.code() != EIO) throw;
    return corrupted(error.what());
  }
}

}  // namespace

HttpStore::HttpStore(const HttpStoreConfig& config, Clock& clock)
    : config_(config),
      clock_(clock),
      retrier_({.retries = config.retries, .timeout = milliseconds(config.timeout_ms)}, clock,
               std::random_device{}()),
      grace_(
          config.stopping, clock,
          milliseconds(std::min<std::uint64_t>(config.options.stop_timeout_ms, config.timeout_ms))),
      sender_(client_config_of(config), config.time, config.options.headers, service_clock_, clock),
      perform_(make_stack()),
      removal_pace_(stall_timeout_of(config) / 4),
      order_(config.lists_unsorted || config.session != nullptr ? KnownOrder::its_own
                                                                : KnownOrder::not_seen),
      removers_(config.connections - 1) {}

// Composes it from the lowest part to the highest: call_stack.hpp gives the reasons of the order.
PerformCall HttpStore::make_stack() {
  BucketLocation& location = *config_.location;
  const PerformCall sent = placed(counted(std::ref(sender_), config_.metrics, clock_), location);
  PerformCall made = signed_by_user(sent, *config_.credentials);
  if (config_.session != nullptr) {
    made = signed_by_session(sent, *config_.session, judged(made, location, service_clock_),
                             config_.options.session_headers);
  }
  made = judged(std::move(made), location, service_clock_);
  made = while_owned(std::move(made), config_.may_write);
  made = retried(std::move(made), retrier_, clock_, config_.may_write,
                 config_.metrics.counter(metric::kS3Retries));
  return within_grace(std::move(made), grace_);
}

bool HttpStore::run(S3Call& call, Judge judge) {
  call.name = fmt::format("{} {}", call.operation.method, url_of(call.key));
  call.judge = std::move(judge);
  perform_(call, {});
  return !call.is_absent;
}

std::string HttpStore::url_of(const std::string& key) const {
  return fmt::format("s3://{}/{}", config_.bucket, key);
}

bool HttpStore::get(const std::string& key, std::span<std::byte> body) {
  S3Call call{.operation = s3_operation::kGet, .key = key, .buffer = body};
  bool vouched_for = true;
  const bool found = run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (auto failure = judge_whole(response, body)) return failure;
    vouched_for = carries_checksum(response);
    return verify_checksum(response, body);
  });
  if (!vouched_for) unverified_.say(url_of(key));
  return found;
}

std::optional<ObjectInfo> HttpStore::fetch_checked(const std::string& key,
                                                   std::span<std::byte> buffer,
                                                   const Check& check) {
  S3Call call{.operation = s3_operation::kGet, .key = key, .buffer = buffer};
  ObjectInfo object;
  const bool found = run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    object = info_of(response, response.buffered_bytes);
    const auto body = buffer.first(response.buffered_bytes);
    if (auto failure = judge_whole(response, body)) return failure;
    if (auto failure = verify_all_checksums(response, body)) return failure;
    return check ? verify_by(check, object, body) : std::nullopt;
  });
  return found ? std::optional(std::move(object)) : std::nullopt;
}

std::optional<ObjectInfo> HttpStore::look_up(const std::string& key) {
  // The byte is not used, and some services send more than one.
  S3Call call{.operation = s3_operation::kGetFirst,
              .key = key,
              .headers = {{"range", "bytes=0-0"}},
              .text_limit = kErrorDocument_bytes_max};
  ObjectInfo object;
  std::optional<Failure> not_told;
  int faults = 0;
  const bool found = run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (auto fault = contradiction_in(response)) return fault;
    object = info_of(response, object_bytes_from_first(response).value_or(0));
    auto failure = judge_first_byte(response);
    const bool is_wrong =
        is_success(response) && failure.has_value() && ++faults == kWrongFirstBytes_max;
    if (!is_wrong && !may_refuse_first_byte(response)) return failure;
    not_told = std::move(failure);
    return std::nullopt;
  });
  if (not_told.has_value()) return look_up_by_head(key, *not_told);
  return found ? std::optional(std::move(object)) : std::nullopt;
}

// HEAD's errors have no text; `why` is the failure of the request for the first byte.
std::optional<ObjectInfo> HttpStore::look_up_by_head(const std::string& key, const Failure& why) {
  S3Call call{.operation = s3_operation::kHead, .key = key};
  ObjectInfo object;
  const bool found = run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    const auto size_bytes = object_bytes_from_first(response);
    if (response.status != 200 || !size_bytes.has_value()) {
      Failure failure = why;
      failure.may_pass = unexpected(response).may_pass;
      failure.reason += fmt::format(", and HEAD is answered {}", response.status);
      return failure;
    }
    object = info_of(response, *size_bytes);
    return std::nullopt;
  });
  return found ? std::optional(std::move(object)) : std::nullopt;
}

}  // namespace nbdstack
