#include "plugins/s3/store/service/http_store.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "common/log.hpp"
#include "plugins/s3/aws/request_ids.hpp"
#include "plugins/s3/aws/signing.hpp"
#include "plugins/s3/store/service/http_call.hpp"
#include "plugins/s3/store/service/s3_answer.hpp"
#include "plugins/s3/store/service/s3_xml.hpp"

namespace nbdstack {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr unsigned kRetriesAtStart = 2;
constexpr seconds kSkewNoticed{60};  // S3 tolerates 15 minutes
constexpr int kWrongFirstBytes_max = 3;

// How long a connection may be silent.
seconds stall_timeout_of(const HttpStoreConfig& config) {
  const int shares = config.time == TransferTime::whole ? 2 : 4;
  return std::max(std::chrono::floor<seconds>(milliseconds(config.timeout_ms) / shares),
                  seconds(1));
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

Duration put_off_by(const HttpOutcome& outcome) {
  return std::visit([](const auto& each) { return each.put_off; }, outcome);
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
      removal_pace_(stall_timeout_of(config) / 4),
      order_(config.lists_unsorted || config.session != nullptr ? KnownOrder::its_own
                                                                : KnownOrder::not_seen),
      removers_(config.connections - 1) {}

std::string HttpStore::url_of(const std::string& key) const {
  return fmt::format("s3://{}/{}", config_.bucket, key);
}

HttpClient& HttpStore::client() {
  std::call_once(client_made_, [this] {
    const milliseconds timeout(config_.timeout_ms);
    client_ = std::make_unique<HttpClient>(
        HttpClientConfig{.connections = config_.connections,
                         .connect_timeout = std::min(timeout, milliseconds(10'000)),
                         .stall_timeout = stall_timeout_of(config_),
                         .crawl_timeout = timeout,
                         .ca_file = config_.ca_file,
                         .tls_verify = config_.tls_verify,
                         .http2 = config_.options.http2,
                         .hedging = config_.options.hedging,
                         .upload_limit_bytes_s = config_.options.upload_limit_bytes_s,
                         .download_limit_bytes_s = config_.options.download_limit_bytes_s});
  });
  return *client_;
}

void HttpStore::run(Call& call, const Judge& judge, Retrier& retrier) {
  const std::string operation = fmt::format("{} {}", call.method, url_of(call.key));
  const ShutdownGrace::Stay stay(grace_, call.changes_something());
  call.operation = stay.operation;
  try {
    retrier.run(
        operation,
        [&](const Attempt& number) {
          auto failure = attempt(call, judge, number.time_left);
          if (call.doubt != nullptr) {
            call.doubt->may_pass = failure.has_value() && failure->may_pass;
          }
          return failure;
        },
        [&] { return is_over(call); });
    grace_.got_on();
  } catch (const Error& error) {
    if (error.code() != ESHUTDOWN) throw;
    throw_why_over(call, operation);
    throw;
  }
}

void HttpStore::throw_why_over(const Call& call, const std::string& operation) {
  if (!may_send(call)) {
    throw Error(ESHUTDOWN,
                fmt::format("{}: given up, because this server's right to write the volume has "
                            "ended",
                            operation));
  }
  if (grace_.is_silent()) {
    throw Error(
        ETIMEDOUT,
        fmt::format("{}: given up, because the server is shutting down, and nothing has "
                    "reached the service for {:.3g} s (the shorter of stop-timeout and timeout)",
                    operation, std::chrono::duration<double>(grace_.duration()).count()));
  }
}

bool HttpStore::is_over(const Call& call) {
  return grace_.is_over_for(call.operation) || !may_send(call);
}

bool HttpStore::may_send(const Call& call) const {
  return !call.changes_something() || !config_.may_write || config_.may_write();
}

std::optional<Failure> HttpStore::attempt(Call& call, const Judge& judge, Duration time_left) {
  HttpOutcome outcome;
  if (auto failure = send_where_it_belongs(call, clock_.now() + time_left, outcome)) return failure;
  try {
    note_doubt(call, outcome);
    auto failure = judge_outcome(call, judge, outcome);
    if (failure.has_value()) failure->put_off = put_off_by(outcome);
    return failure;
  } catch (...) {  // out of memory: it may have been done, and nobody knows as which version
    if (call.doubt != nullptr) call.doubt->is_open = true;
    throw;
  }
}

std::optional<Failure> HttpStore::judge_outcome(Call& call, const Judge& judge,
                                                const HttpOutcome& outcome) {
  if (const auto* failure = std::get_if<TransportFailure>(&outcome)) {
    Failure failed = failure_of(*failure);
    call.was_given_up = call.ends_when_given_up && failure->may_have_arrived &&
                        failure->kind == TransportFailure::Kind::timeout;
    if (call.was_given_up) failed.may_pass = false;
    return failed;
  }
  const auto& response = std::get<HttpResponse>(outcome);
  if (learn_clock(call, response)) {
    Failure failure = unexpected(response);
    failure.may_pass = true;
    return failure;
  }
  auto misplaced = config_.location->refusal(*call.place, response);
  auto failure = misplaced.has_value() ? Failure{.reason = std::move(*misplaced)} : judge(response);
  if (failure.has_value() && failure->request_ids.empty()) {
    const auto buffered = call.buffer.first(std::min(call.buffer.size(), response.buffered_bytes));
    failure->request_ids =
        request_ids_of(response, {reinterpret_cast<const char*>(buffered.data()), buffered.size()});
  }
  return failure;
}

// An answer of the service's that it is busy says that nothing was done; the same from whatever
// stands before it, which does not give S3's reasons, says nothing.
void HttpStore::note_doubt(Call& call, const HttpOutcome& outcome) {
  bool may_be_done_later = false;
  if (const auto* failure = std::get_if<TransportFailure>(&outcome)) {
    call.in_doubt = true;
    may_be_done_later = failure->may_have_arrived;
  } else {
    const auto& response = std::get<HttpResponse>(outcome);
    if (response.sent_twice) call.in_doubt = true;
    may_be_done_later = response.sent_twice;
    if (response.status >= 500 || response.status == 408 || response.status == 499 ||
        error_in_success(response, response.text).has_value()) {
      call.in_doubt = true;
      const std::string code = parse_service_error(response.text).code;
      may_be_done_later |= response.status != 501 && code != "SlowDown" &&
                           code != "ServiceUnavailable" && code != "RequestTimeout";
    }
  }
  if (call.doubt == nullptr || !may_be_done_later) return;
  call.doubt->is_open = true;
  const auto* const failure = std::get_if<TransportFailure>(&outcome);
  if (failure != nullptr && failure->kind == TransportFailure::Kind::timeout) {
    call.doubt->was_given_up = true;
  }
}

HttpOutcome HttpStore::send(Call& call, Duration time_left) {
  call.place = config_.location->current();
  const BucketAddress& address = call.place->address;
  SigningScope scope = call.place->scope;
  if (call.is_in_session) scope.token_header = "x-amz-s3session-token";
  SignableRequest signable{.method = call.method,
                           .path = address.path_of(call.key),
                           .query = call.query,
                           .headers = call.headers,
                           .payload_sha256 = call.payload_sha256};
  signable.headers.emplace_back("host", address.host_header());
  const HeaderList& always = config_.options.headers;
  signable.headers.insert(signable.headers.end(), always.begin(), always.end());
  HttpRequest request{.method = call.method,
                      .url = address.origin() + encode_path(signable.path),
                      .body = call.body,
                      .buffer_status = call.buffer_status,
                      .buffer = call.buffer,
                      .text_limit = call.text_limit,
                      .is_over = [&] { return is_over(call); },
                      .may_send = [&] { return may_send(call); },
                      .got_on = [&] { grace_.got_on(); },
                      .time = config_.time,
                      .fresh_connection = call.fresh_connection};
  if (!signable.query.empty()) request.url += "?" + encode_query(signable.query);
  call.clock_offset_s = clock_offset_s_;
  const WallTime now = std::chrono::system_clock::now() + seconds(call.clock_offset_s);
  request.headers = call.credentials.is_anonymous()
                        ? std::move(signable.headers)
                        : signed_headers(std::move(signable), call.credentials, scope, now);
  try {
    return client().perform(request, time_left);
  } catch (...) {  // ended by us in the midst of it
    if (call.doubt != nullptr) *call.doubt = {.is_open = true, .was_given_up = true};
    throw;
  }
}

// True when the service's clock is not where this attempt took it to be: the next one may pass.
bool HttpStore::learn_clock(const Call& call, const HttpResponse& response) {
  if (parse_service_error(response.text).code != "RequestTimeTooSkewed") return false;
  const auto date = parse_http_date(response.header("date").value_or(""));
  if (!date) return false;
  const auto offset = std::chrono::duration_cast<seconds>(*date - std::chrono::system_clock::now());
  if (std::chrono::abs(offset - seconds(call.clock_offset_s)) < kSkewNoticed) return false;
  // Many requests may learn it at once; one says so.
  if (clock_offset_s_.exchange(offset.count()) == call.clock_offset_s) {
    log::error(
        "the S3 service's clock is {} s ahead of this machine's: requests are signed with "
        "its time",
        offset.count());
  }
  return true;
}

void HttpStore::check_bucket(const std::string& prefix) {
  Retrier brief({.retries = std::min(config_.retries, kRetriesAtStart),
                 .timeout = milliseconds(config_.timeout_ms)},
                clock_, std::random_device{}());
  Call call = list_call(prefix, 1);
  fetch_page(call, brief, nullptr);
}

bool HttpStore::get(const std::string& key, std::span<std::byte> body) {
  Call call = get_call(key, body);
  bool found = true;
  bool vouched_for = true;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    found = !is_missing(response);
    if (!found) return std::nullopt;
    if (auto failure = judge_whole(response, body)) return failure;
    vouched_for = carries_checksum(response);
    return verify_checksum(response, body);
  });
  if (!vouched_for) unverified_.say(url_of(key));
  return found;
}

std::optional<std::string> HttpStore::get_text(const std::string& key, std::size_t size_limit) {
  Call call{.method = "GET", .key = key};
  call.text_limit = std::max(call.text_limit, size_limit);
  std::optional<std::string> text;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (is_missing(response)) return std::nullopt;
    if (response.status != 200) return unexpected(response);
    if (response.text_cut || response.text.size() > size_limit) {
      return Failure{.reason = fmt::format("the object is longer than {} bytes", size_limit)};
    }
    text = response.text;
    if (auto fault = contradiction_in(response)) return fault;
    if (auto failure = error_in_success(response, response.text)) return failure;
    return verify_checksum(response, std::as_bytes(std::span(response.text)));
  });
  return text;
}

std::optional<ObjectInfo> HttpStore::fetch_checked(const std::string& key,
                                                   std::span<std::byte> buffer,
                                                   const Check& check) {
  Call call{.method = "GET", .key = key, .buffer_status = 200, .buffer = buffer};
  std::optional<ObjectInfo> object;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    object.reset();  // what an earlier attempt was answered, in vain
    if (is_missing(response)) return std::nullopt;
    object = info_of(response, response.buffered_bytes);
    const auto body = buffer.first(response.buffered_bytes);
    if (auto failure = judge_whole(response, body)) return failure;
    if (auto failure = verify_all_checksums(response, body)) return failure;
    return check ? verify_by(check, *object, body) : std::nullopt;
  });
  return object;
}

std::optional<ObjectInfo> HttpStore::look_up(const std::string& key) {
  // Nobody looks at the byte, and some services send more than it.
  Call call{.method = "GET", .key = key, .text_limit = kErrorDocument_bytes_max};
  call.headers.emplace_back("range", "bytes=0-0");
  std::optional<ObjectInfo> object;
  std::optional<Failure> not_told;
  int faults = 0;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    object.reset();  // what an earlier attempt was answered, in vain
    not_told.reset();
    if (is_missing(response)) return std::nullopt;
    if (auto fault = contradiction_in(response)) return fault;
    object = info_of(response, object_bytes_from_first(response).value_or(0));
    auto failure = judge_first_byte(response);
    const bool is_wrong =
        is_success(response) && failure.has_value() && ++faults == kWrongFirstBytes_max;
    if (!is_wrong && !may_refuse_first_byte(response)) return failure;
    not_told = std::move(failure);
    return std::nullopt;
  });
  return not_told.has_value() ? look_up_by_head(key, *not_told) : object;
}

// HEAD's errors say nothing: `why` it was not enough to ask for the first byte does.
std::optional<ObjectInfo> HttpStore::look_up_by_head(const std::string& key, const Failure& why) {
  Call call{.method = "HEAD", .key = key};
  std::optional<ObjectInfo> object;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    object.reset();
    if (is_missing(response)) return std::nullopt;
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
  return object;
}

}  // namespace nbdstack
