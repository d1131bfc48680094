#include "plugins/s3/store/service/call_stack.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "common/error.hpp"
#include "common/log.hpp"
#include "plugins/s3/aws/request_ids.hpp"
#include "plugins/s3/store/service/s3_answer.hpp"

namespace nbdstack {

using std::chrono::seconds;
using std::chrono::system_clock;

namespace {

Duration put_off_by(const S3Call& call) {
  return std::visit([](const auto& each) { return each.put_off; }, *call.outcome);
}

// Sends it again in the same attempt. Time in which the first sending progressed does not count.
std::optional<Failure> send_again(const PerformCall& below, S3Call& call, CallLimits limits) {
  const Duration put_off = put_off_by(call);
  limits.deadline += put_off;
  auto failure = below(call, limits);
  std::visit([put_off](auto& each) { each.put_off += put_off; }, *call.outcome);
  return failure;
}

// If the service answers that it is busy, nothing was done. A proxy before it, which does not give
// S3's reasons, may answer so after the service has done it.
void note_doubt(S3Call& call) {
  bool may_be_done_later = false;
  const auto* const failure = std::get_if<TransportFailure>(&*call.outcome);
  if (failure != nullptr) {
    call.in_doubt = true;
    may_be_done_later = failure->may_have_arrived;
  } else {
    const HttpResponse& response = *call.response();
    may_be_done_later = response.sent_twice;
    call.in_doubt |= response.sent_twice;
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
  if (failure != nullptr && failure->kind == TransportFailure::Kind::timeout) {
    call.doubt->was_given_up = true;
  }
}

std::optional<Failure> judge_outcome(S3Call& call, const BucketLocation& location,
                                     ServiceClock& clock) {
  if (const auto* failure = std::get_if<TransportFailure>(&*call.outcome)) {
    Failure failed = failure_of(*failure);
    call.was_given_up = call.ends_when_given_up && failure->may_have_arrived &&
                        failure->kind == TransportFailure::Kind::timeout;
    if (call.was_given_up) failed.may_pass = false;
    return failed;
  }
  const HttpResponse& response = *call.response();
  if (clock.learn(call.clock_ahead_s, response)) {
    Failure failure = unexpected(response);
    failure.may_pass = true;
    return failure;
  }
  if (auto misplaced = location.refusal(*call.place, response)) {
    return Failure{.reason = *std::move(misplaced)};
  }
  call.is_absent = call.operation.absent && is_missing(response);
  if (call.is_absent) return std::nullopt;
  return call.operation.judges(response.status) ? call.judge(response) : unexpected(response);
}

void add_request_ids(Failure& failure, const S3Call& call) {
  if (call.response() == nullptr || !failure.request_ids.empty()) return;
  std::span<std::byte> body = call.buffer.value_or(std::span<std::byte>());
  body = body.first(std::min(body.size(), call.response()->buffered_bytes));
  failure.request_ids =
      request_ids_of(*call.response(), {reinterpret_cast<const char*>(body.data()), body.size()});
}

// Returns whether other credentials may be accepted. A wrong signature is no reason to try any: a
// key that does not fit its id will not do so later.
bool rejects_credentials(const HttpResponse& response) {
  if (response.status < 400 || response.status > 403) return false;
  if (response.status == 401) return true;
  const std::string code = parse_service_error(response.text).code;
  return code == "ExpiredToken" || code == "InvalidToken" || code == "TokenRefreshRequired" ||
         code == "InvalidAccessKeyId";
}

// `take` sets the credentials that sign the call; `renew` returns whether they may be others the
// next time.
template <typename Take, typename Renew>
std::optional<Failure> send_signed(const PerformCall& below, S3Call& call, const CallLimits& limits,
                                   const Take& take, const Renew& renew) {
  if (auto failure = take()) return failure;
  if (auto failure = below(call, limits)) return failure;
  const HttpResponse* const response = call.response();
  if (response == nullptr || !rejects_credentials(*response) || !renew()) return std::nullopt;
  if (auto failure = take()) return failure;
  return send_again(below, call, limits);
}

std::variant<NewSession, Failure> create_session(const PerformCall& create,
                                                 const HeaderList& headers,
                                                 const CallLimits& limits) {
  S3Call call{.operation = s3_operation::kSession, .headers = headers};
  std::optional<NewSession> session;
  call.judge = [&](const HttpResponse& response) -> std::optional<Failure> {
    session = parse_session(response);
    if (session.has_value()) return std::nullopt;
    return not_the_document(response, "CreateSessionResult");
  };
  if (auto failure = create(call, limits)) {
    failure->reason = "CreateSession: " + failure->reason;
    return *std::move(failure);
  }
  return *std::move(session);
}

}  // namespace

void check_right(const S3Call& call, const MayWrite& may_write) {
  if (!call.operation.is_change() || !may_write || may_write()) return;
  throw Error(ESHUTDOWN, fmt::format("{}: given up, because this server's right to write the "
                                     "volume has ended",
                                     call.name));
}

PerformCall within_grace(PerformCall below, ShutdownGrace& grace) {
  return [below = std::move(below), &grace](S3Call& call, const CallLimits& above) {
    const ShutdownGrace::Stay stay(grace, call.operation.is_change());
    bool is_over = false;
    CallLimits limits = above;
    limits.is_over = [&] { return is_over = grace.is_over_for(stay.operation); };
    limits.got_on = [&] { grace.got_on(); };
    try {
      auto failure = below(call, limits);
      if (!failure.has_value()) grace.got_on();
      return failure;
    } catch (const Error& error) {
      if (error.code() != ESHUTDOWN || !is_over || !grace.is_silent()) throw;
      throw Error(
          ETIMEDOUT,
          fmt::format("{}: given up, because the server is shutting down, and nothing has reached "
                      "the service for {:.3g} s (the shorter of stop-timeout and timeout)",
                      call.name, std::chrono::duration<double>(grace.duration()).count()));
    }
  };
}

PerformCall retried(PerformCall below, Retrier& retrier, Clock& clock, const MayWrite& may_write,
                    Counter retries) {
  return [below = std::move(below), &retrier, &clock, may_write, retries](
             S3Call& call, const CallLimits& above) -> std::optional<Failure> {
    Retrier& its_retrier = call.retrier == nullptr ? retrier : *call.retrier;
    its_retrier.run(
        call.name,
        [&](const Attempt& attempt) {
          CallLimits limits = above;
          limits.deadline = clock.now() + attempt.time_left;
          if (attempt.number > 1) retries.add();
          auto failure = below(call, limits);
          if (call.doubt != nullptr) {
            call.doubt->may_pass = failure.has_value() && failure->may_pass;
          }
          return failure;
        },
        [&] {
          check_right(call, may_write);
          return above.is_over && above.is_over();
        });
    return std::nullopt;
  };
}

PerformCall while_owned(PerformCall below, const MayWrite& may_write) {
  if (!may_write) return below;
  return [below = std::move(below), may_write](S3Call& call, const CallLimits& above) {
    if (!call.operation.is_change()) return below(call, above);
    check_right(call, may_write);
    CallLimits limits = above;
    limits.may_send = may_write;
    limits.is_over = [&] {
      check_right(call, may_write);
      return above.is_over && above.is_over();
    };
    try {
      return below(call, limits);
    } catch (const Error& error) {
      if (error.code() == ESHUTDOWN) check_right(call, may_write);
      throw;
    }
  };
}

PerformCall judged(PerformCall below, BucketLocation& location, ServiceClock& clock) {
  return [below = std::move(below), &location, &clock](S3Call& call, const CallLimits& limits) {
    call.outcome.reset();
    auto failure = below(call, limits);
    if (!call.outcome.has_value()) return failure;
    try {
      note_doubt(call);
      if (!failure.has_value()) failure = judge_outcome(call, location, clock);
      if (!failure.has_value()) return failure;
      add_request_ids(*failure, call);
      failure->put_off = put_off_by(call);
      return failure;
    } catch (...) {  // no memory: it may have been done, with an unknown version as its result
      if (call.doubt != nullptr) call.doubt->is_open = true;
      throw;
    }
  };
}

PerformCall signed_by_user(PerformCall below, CredentialSource& credentials) {
  return [below = std::move(below), &credentials](S3Call& call, const CallLimits& limits) {
    return send_signed(
        below, call, limits,
        [&]() -> std::optional<Failure> {
          call.credentials = credentials.current();
          return std::nullopt;
        },
        [&] { return credentials.invalidate(call.credentials); });
  };
}

PerformCall signed_by_session(PerformCall below, ExpressSession& session, PerformCall create,
                              const HeaderList& headers) {
  return [below = std::move(below), &session, create = std::move(create), headers](
             S3Call& call, const CallLimits& limits) {
    call.token_header = "x-amz-s3session-token";
    return send_signed(
        below, call, limits,
        [&]() -> std::optional<Failure> {
          auto found = session.current([&] { return create_session(create, headers, limits); });
          if (auto* const failure = std::get_if<Failure>(&found)) return std::move(*failure);
          call.credentials = std::get<Credentials>(std::move(found));
          return std::nullopt;
        },
        [&] {
          session.refuse(call.credentials);
          return true;
        });
  };
}

PerformCall placed(PerformCall below, BucketLocation& location) {
  return [below = std::move(below), &location](S3Call& call, const CallLimits& limits) {
    call.place = location.current();
    auto failure = below(call, limits);
    const HttpResponse* const response = call.response();
    if (failure.has_value() || response == nullptr || !location.learn(*call.place, *response)) {
      return failure;
    }
    call.place = location.current();
    return send_again(below, call, limits);
  };
}

bool ServiceClock::learn(std::int64_t ahead_s, const HttpResponse& response) {
  constexpr seconds kNoticed{60};  // S3 tolerates 15 minutes
  if (parse_service_error(response.text).code != "RequestTimeTooSkewed") return false;
  const auto date = parse_http_date(response.header("date").value_or(""));
  if (!date.has_value()) return false;
  const auto found = std::chrono::duration_cast<seconds>(*date - system_clock::now());
  if (std::chrono::abs(found - seconds(ahead_s)) < kNoticed) return false;
  // Many requests may notice it at the same time; one logs it.
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
  } catch (...) {  // this server ended it while it was running
    if (call.doubt != nullptr) *call.doubt = {.is_open = true, .was_given_up = true};
    throw;
  }
  return std::nullopt;
}

}  // namespace nbdstack
