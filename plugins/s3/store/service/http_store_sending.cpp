// Where HttpStore's requests go and as whom: the bucket's place, credentials and sessions, which answers
// may change.
#include <string>
#include <utility>
#include <variant>

#include "plugins/s3/store/service/http_call.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "plugins/s3/store/service/s3_answer.hpp"
#include "plugins/s3/store/service/s3_xml.hpp"

namespace nbdstack {
namespace {

// True where other credentials may be accepted. A wrong signature is not among the reasons: a key
// that does not fit its id will not do so later.
bool rejects_credentials(const HttpResponse& response) {
  if (response.status < 400 || response.status > 403) return false;
  if (response.status == 401) return true;
  const std::string code = parse_service_error(response.text).code;
  return code == "ExpiredToken" || code == "InvalidToken" || code == "TokenRefreshRequired" ||
         code == "InvalidAccessKeyId";
}

}  // namespace

// An answer that says where the bucket is, or that wants other credentials, is followed at once, and
// each of the two once only.
std::optional<Failure> HttpStore::send_where_it_belongs(Call& call, TimePoint deadline,
                                                        HttpOutcome& outcome) {
  if (auto failure = authorise(call, deadline)) return failure;
  outcome = send(call, deadline - clock_.now());
  Duration put_off{};  // by those that were answered so
  bool was_moved = false;
  bool was_renewed = false;
  while (const auto* const response = std::get_if<HttpResponse>(&outcome)) {
    if (!was_moved && config_.location->learn(*call.place, *response)) {
      was_moved = true;
    } else if (!was_renewed && rejects_credentials(*response) && renew_credentials(call)) {
      was_renewed = true;  // they ended early, or keys were replaced
    } else {
      break;
    }
    put_off += response->put_off;
    if (auto failure = authorise(call, deadline + put_off)) return failure;
    outcome = send(call, deadline + put_off - clock_.now());
  }
  std::visit([put_off](auto& each) { each.put_off += put_off; }, outcome);
  return std::nullopt;
}

bool HttpStore::renew_credentials(const Call& call) {
  if (!call.is_in_session) return config_.credentials->invalidate(call.credentials);
  config_.session->refuse(call.credentials);
  return true;
}

// What the next attempt is signed with.
std::optional<Failure> HttpStore::authorise(Call& call, TimePoint deadline) {
  if (config_.session == nullptr) {
    call.credentials = config_.credentials->current();
    return std::nullopt;
  }
  const auto found = config_.session->current([&] { return create_session(call, deadline); });
  if (const auto* const failure = std::get_if<Failure>(&found)) return *failure;
  call.credentials = std::get<Credentials>(found);
  call.is_in_session = true;
  return std::nullopt;
}

// For the sake of the call `purpose`, with whose end it ends.
std::variant<NewSession, Failure> HttpStore::create_session(const Call& purpose,
                                                            TimePoint deadline) {
  Call call{.method = "GET",
            .key = "",
            .query = {{"session", ""}},
            .headers = config_.options.session_headers};
  call.operation = purpose.operation;
  call.credentials = config_.credentials->current();
  HttpOutcome outcome = send(call, deadline - clock_.now());
  const auto* const response = std::get_if<HttpResponse>(&outcome);
  if (response != nullptr && rejects_credentials(*response) && renew_credentials(call)) {
    call.credentials = config_.credentials->current();
    outcome = send(call, deadline - clock_.now());
  }
  std::optional<NewSession> session;
  const auto judge = [&](const HttpResponse& answer) -> std::optional<Failure> {
    if (answer.status != 200) return unexpected(answer);
    session = parse_session(answer);
    if (session.has_value()) return std::nullopt;
    return not_the_document(answer, "CreateSessionResult");
  };
  if (auto failure = judge_outcome(call, judge, outcome)) {
    failure->reason = "CreateSession: " + failure->reason;
    return *failure;
  }
  return *session;
}

}  // namespace nbdstack
