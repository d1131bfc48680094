#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.hpp"
#include "plugins/s3/store/service/call_stack.hpp"

namespace nbdstack {

using std::chrono::seconds;
using std::chrono::system_clock;

bool ServiceClock::learn(std::int64_t ahead_s, const HttpResponse& response) {
  constexpr seconds kNoticed{60};  // S3 tolerates 15 minutes
  if (parse_service_error(response.text).code != "RequestTimeTooSkewed") return false;
  const auto date = parse_http_date(response.header("date").value_or(""));
  if (!date.has_value()) return false;
  const auto found = std::chrono::duration_cast<seconds>(*date - system_clock::now());
  if (std::chrono::abs(found - seconds(ahead_s)) < kNoticed) return false;
  // Many requests may learn it at the same time; one logs it.
  if (ahead_s_.exchange(found.count()) == ahead_s) {
    log::error(
        "the S3 service's clock is {} s ahead of this machine's: requests are signed with its time",
        found.count());
  }
  return true;
}

std::optional<Failure> CallSender::operator()(S3Call& call, const CallLimits& limits) {
  const BucketAddress& address = call.place->address;
  SigningScope scope = call.place->scope;
  scope.token_header = call.token_header;
  SignableRequest signable{.method = std::string(call.operation.method),
                           .path = address.path_of(call.key),
                           .query = call.query,
                           .headers = call.headers,
                           .payload_sha256 = call.payload_sha256};
  if (const std::string_view query = call.operation.query; !query.empty()) {
    const std::size_t end = std::min(query.find('='), query.size());
    signable.query.emplace_back(query.substr(0, end),
                                query.substr(std::min(end + 1, query.size())));
  }
  signable.headers.emplace_back("host", address.host_header());
  signable.headers.insert(signable.headers.end(), headers_.begin(), headers_.end());
  HttpRequest request{.method = signable.method,
                      .url = address.origin() + encode_path(signable.path),
                      .body = call.body,
                      .buffer_status = call.buffer.has_value() ? call.operation.done : 0,
                      .buffer = call.buffer.value_or(std::span<std::byte>()),
                      .text_limit = call.text_limit,
                      .is_over = limits.is_over,
                      .may_send = limits.may_send,
                      .got_on = limits.got_on,
                      .time = time_,
                      .fresh_connection = call.fresh_connection};
  if (!signable.query.empty()) request.url += "?" + encode_query(signable.query);
  call.clock_ahead_s = service_clock_.ahead_s();
  const WallTime now = system_clock::now() + seconds(call.clock_ahead_s);
  request.headers = call.credentials.is_anonymous()
                        ? std::move(signable.headers)
                        : signed_headers(std::move(signable), call.credentials, scope, now);
  std::call_once(client_made_, [this] { client_ = std::make_unique<HttpClient>(http_); });
  try {
    call.outcome = client_->perform(request, limits.deadline - clock_.now());
  } catch (...) {  // ended by us in the midst of it
    if (call.doubt != nullptr) *call.doubt = {.is_open = true, .was_given_up = true};
    throw;
  }
  return std::nullopt;
}

}  // namespace nbdstack
