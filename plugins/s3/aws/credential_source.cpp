#include "plugins/s3/aws/credential_source.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

using std::chrono::seconds;

constexpr seconds kMargin_max = std::chrono::minutes(5);
constexpr seconds kFirstPause{1};
constexpr seconds kPause_max{60};
constexpr seconds kRejectionRemembered{60};

seconds margin_of(const Credentials& credentials, WallTime now) {
  if (!credentials.expires) return seconds(0);
  const auto lifetime =
      std::max(std::chrono::duration_cast<seconds>(*credentials.expires - now), seconds(0));
  return std::min(kMargin_max, lifetime / 10);
}

}  // namespace

CredentialSource::CredentialSource(Credentials first, std::string name,
                                   std::function<Credentials()> renew,
                                   std::function<WallTime()> wall_time, AtTheirEnd at_their_end)
    : name_(std::move(name)),
      renew_(std::move(renew)),
      wall_time_(std::move(wall_time)),
      at_their_end_(at_their_end),
      current_(std::move(first)),
      margin_(margin_of(current_, wall_time_())) {}

CredentialSource::CredentialSource(Credentials fixed)
    : CredentialSource(std::move(fixed), "fixed", {},
                       [] { return std::chrono::system_clock::now(); }) {}

Credentials CredentialSource::current() {
  const MutexLock lock(mutex_);
  while (true) {
    const WallTime now = wall_time_();
    const bool ended = has_ended(now) && !is_extended_;
    const bool usable = !ended && !rejected_;
    if (usable && !is_near_end(now)) return current_;
    if (renewing_) {
      if (usable) return current_;
      renewed_.wait(mutex_);
    } else if (is_pausing(now)) {
      if (!ended) return current_;
      throw Error(EACCES, fmt::format("the credentials from {} have expired and could not be "
                                      "renewed: {}",
                                      name_, last_failure_));
    } else {
      renew();
    }
  }
}

bool CredentialSource::invalidate(const Credentials& failed) {
  const MutexLock lock(mutex_);
  if (failed != current_) return true;
  if (!renew_) return false;
  const WallTime now = wall_time_();
  const auto since = now - last_rejected_at_;
  const bool recent = since >= seconds(0) && since < kRejectionRemembered;
  if (recent && last_rejected_ == failed) return rejected_;
  last_rejected_ = failed;
  last_rejected_at_ = now;
  rejected_ = true;
  return true;
}

bool CredentialSource::has_ended(WallTime now) const {
  return renew_ && current_.expires && now >= *current_.expires;
}

bool CredentialSource::is_near_end(WallTime now) const {
  return renew_ && current_.expires && now >= *current_.expires - margin_;
}

// A clock that was set back does not prolong the pause.
bool CredentialSource::is_pausing(WallTime now) const {
  return !last_failure_.empty() && now >= failed_at_ && now < failed_at_ + pause_;
}

void CredentialSource::renew() {
  renewing_ = true;
  std::optional<Credentials> renewed;
  std::string reason;
  try {
    const MutexUnlock unlocked(mutex_);
    renewed = renew_();
    if (renewed->expires && *renewed->expires <= wall_time_()) {
      reason = "those that came have expired already (is this machine's clock right?)";
    }
  } catch (const std::exception& error) {
    reason = error.what();
  }
  renewing_ = false;
  rejected_ = false;
  if (renewed && reason.empty()) {
    take(*renewed, wall_time_());
  } else {
    // All of them have ended: the newest are the likeliest to be accepted.
    if (renewed && at_their_end_ == AtTheirEnd::go_on && renewed->expires > current_.expires) {
      current_ = *renewed;
    }
    take_failure(reason, wall_time_());
  }
  renewed_.notify_all();
}

void CredentialSource::take(const Credentials& renewed, WallTime now) {
  const char* const outcome = renewed == current_ ? "are still the same" : "have been renewed";
  if (last_failure_.empty()) {
    log::debug("credentials from {} {}", name_, outcome);
  } else {
    log::error("credentials from {} {}: the trouble is over", name_, outcome);
  }
  current_ = renewed;
  margin_ = margin_of(current_, now);
  is_extended_ = false;
  logged_end_ = false;
  last_failure_.clear();
  pause_ = seconds(0);
}

void CredentialSource::take_failure(const std::string& reason, WallTime now) {
  const bool is_new = last_failure_.empty();
  last_failure_ = reason.empty() ? "no reason given" : reason;
  const bool has_just_ended = has_ended(now) && !std::exchange(logged_end_, has_ended(now));
  if (is_new || has_just_ended) log_failure(now);
  is_extended_ = has_ended(now) && at_their_end_ == AtTheirEnd::go_on;
  failed_at_ = now;
  pause_ = std::clamp(pause_ * 2, kFirstPause, kPause_max);
}

void CredentialSource::log_failure(WallTime now) const {
  std::string validity;
  if (has_ended(now)) {
    validity = at_their_end_ == AtTheirEnd::go_on
                   ? ", which have expired and are used on, for the service may still accept them,"
                   : ", which have expired,";
  } else if (current_.expires) {
    const auto left = std::chrono::duration_cast<seconds>(*current_.expires - now);
    validity = fmt::format(", which are valid for another {} s,", left.count());
  }
  log::error("the credentials from {}{} could not be renewed: {}", name_, validity, last_failure_);
}

FoundCredentials find_credentials(const CredentialParameters& parameters,
                                  const Environment& environment) {
  const Identity identity = find_identity(parameters, environment);
  log::debug("credentials from {}, region {}", identity.source, identity.region);
  std::function<Credentials()> renew = [=] {
    return find_again(parameters, environment, identity.origin);
  };
  AtTheirEnd at_their_end = AtTheirEnd::stop;
  switch (identity.origin) {
    case CredentialOrigin::parameters:
    case CredentialOrigin::environment:
      renew = nullptr;  // neither changes while the process runs
      break;
    case CredentialOrigin::profile:
    case CredentialOrigin::web_identity:
      break;
    case CredentialOrigin::container:
    case CredentialOrigin::instance:
      at_their_end = AtTheirEnd::go_on;
      break;
  }
  return {std::make_shared<CredentialSource>(identity.credentials, identity.source, renew,
                                             environment.wall_time, at_their_end),
          identity.region, identity.endpoint, identity.ca_file, identity.virtual_host};
}

}  // namespace nbdstack
