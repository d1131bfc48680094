#include "plugins/s3/store/service/express_session.hpp"

#include <algorithm>
#include <chrono>
#include <pugixml.hpp>

#include "common/log.hpp"
#include "plugins/s3/aws/credential_document.hpp"

namespace nbdstack {
namespace {

constexpr std::chrono::minutes kLifetime{5};  // at most, and if the answer has no date
constexpr std::chrono::minutes kLastMinute{1};

}  // namespace

std::variant<Credentials, Failure> ExpressSession::current(
    const std::function<std::variant<NewSession, Failure>()>& ask) {
  const TimePoint now = clock_->now();
  std::optional<Credentials> usable;
  {
    const MutexLock lock(mutex_);
    if (session_.has_value() && now < end_) usable = session_;
    if (usable.has_value() && (is_renewing_ || now < end_ - kLastMinute)) return *usable;
    is_renewing_ = true;
  }
  std::variant<NewSession, Failure> found = Failure{};
  try {
    found = ask();
  } catch (...) {
    const MutexLock lock(mutex_);
    is_renewing_ = false;
    throw;
  }
  if (auto taken = take(found, now)) return *std::move(taken);
  const Failure& failure = std::get<Failure>(found);
  if (!usable.has_value()) return failure;
  log::debug("the session goes on and is not renewed: {}", failure.reason);
  return *std::move(usable);
}

std::optional<Credentials> ExpressSession::take(const std::variant<NewSession, Failure>& found,
                                                TimePoint asked) {
  const MutexLock lock(mutex_);
  is_renewing_ = false;
  const auto* const session = std::get_if<NewSession>(&found);
  if (session == nullptr) return std::nullopt;
  session_ = session->credentials;
  end_ = asked + session->lifetime;
  return session_;
}

void ExpressSession::refuse(const Credentials& failed) {
  const MutexLock lock(mutex_);
  if (session_ == failed) session_.reset();
}

std::optional<NewSession> parse_session(const HttpResponse& response) {
  pugi::xml_document document;
  document.load_buffer(response.text.data(), response.text.size());
  const pugi::xml_node node = document.child("CreateSessionResult").child("Credentials");
  NewSession session{.credentials = {.access_key = node.child_value("AccessKeyId"),
                                     .secret_key = node.child_value("SecretAccessKey"),
                                     .session_token = node.child_value("SessionToken"),
                                     .expires = parse_iso_time(node.child_value("Expiration"))},
                     .lifetime = kLifetime};
  const Credentials& credentials = session.credentials;
  if (credentials.access_key.empty() || credentials.secret_key.empty() ||
      credentials.session_token.empty() || !credentials.expires.has_value()) {
    return std::nullopt;
  }
  if (const auto now = parse_http_date(response.header("date").value_or(""))) {
    session.lifetime =
        std::clamp<Duration>(*credentials.expires - *now, Duration::zero(), kLifetime);
  }
  return session;
}

}  // namespace nbdstack
