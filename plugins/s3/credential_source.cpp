#include "plugins/s3/credential_source.hpp"

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
constexpr seconds kLongestPause{60};
constexpr seconds kRejectionRemembered{60};

seconds margin_of(const Credentials& credentials, CredentialSource::WallTime now) {
  if (!credentials.expires) return seconds(0);
  const auto lifetime = std::chrono::duration_cast<seconds>(*credentials.expires - now);
  return std::min(kMargin_max, lifetime / 10);
}

}  // namespace

CredentialSource::CredentialSource(Credentials first, std::string name,
                                   std::function<Credentials()> renew,
                                   std::function<WallTime()> wall_time)
    : name_(std::move(name)),
      renew_(std::move(renew)),
      wall_time_(std::move(wall_time)),
      current_(std::move(first)),
      margin_(margin_of(current_, wall_time_())) {}

CredentialSource::CredentialSource(Credentials fixed)
    : CredentialSource(std::move(fixed), "fixed", {},
                       [] { return std::chrono::system_clock::now(); }) {}

Credentials CredentialSource::current() {
  std::unique_lock lock(mutex_);
  while (true) {
    const WallTime now = wall_time_();
    const bool ended = has_ended(now);
    const bool usable = !ended && !rejected_;
    if (usable && !is_near_end(now)) return current_;
    if (renewing_) {
      if (usable) return current_;
      renewed_.wait(lock);
    } else if (is_pausing(now)) {
      if (!ended) return current_;
      throw Error(EACCES, fmt::format("the credentials from {} have expired and could not be "
                                      "renewed: {}",
                                      name_, last_failure_));
    } else {
      renew(lock);
    }
  }
}

bool CredentialSource::invalidate(const Credentials& failed) {
  const std::lock_guard lock(mutex_);
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

void CredentialSource::renew(std::unique_lock<std::mutex>& lock) {
  renewing_ = true;
  lock.unlock();
  std::optional<Credentials> renewed;
  std::string reason;
  try {
    renewed = renew_();
    if (renewed->expires && *renewed->expires <= wall_time_()) {
      renewed.reset();
      reason = "those that came have expired already (is this machine's clock right?)";
    }
  } catch (const std::exception& error) {
    reason = error.what();
  }
  lock.lock();
  renewing_ = false;
  rejected_ = false;
  if (renewed) {
    take(*renewed, wall_time_());
  } else {
    take_failure(reason, wall_time_());
  }
  renewed_.notify_all();
}

void CredentialSource::take(const Credentials& renewed, WallTime now) {
  log::debug("credentials from {} {}", name_,
             renewed == current_ ? "are still the same" : "have been renewed");
  current_ = renewed;
  margin_ = margin_of(current_, now);
  last_failure_.clear();
  pause_ = seconds(0);
}

void CredentialSource::take_failure(const std::string& reason, WallTime now) {
  last_failure_ = reason.empty() ? "no reason given" : reason;
  failed_at_ = now;
  pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
  std::string validity;
  if (has_ended(now)) {
    validity = ", which have expired,";
  } else if (current_.expires) {
    const auto left = std::chrono::duration_cast<seconds>(*current_.expires - now);
    validity = fmt::format(", which are valid for another {} s,", left.count());
  }
  log::error("the credentials from {}{} could not be renewed: {}", name_, validity, last_failure_);
}

FoundCredentials find_credentials(const CredentialParameters& parameters,
                                  const Surroundings& surroundings) {
  const Identity identity = find_identity(parameters, surroundings);
  log::debug("credentials from {}, region {}", identity.source, identity.region);
  // Neither parameters nor the environment of a running process change.
  const bool can_change = identity.origin != CredentialOrigin::parameters &&
                          identity.origin != CredentialOrigin::environment;
  std::function<Credentials()> renew;
  if (can_change) {
    renew = [=] { return find_again(parameters, surroundings, identity.origin); };
  }
  return {std::make_shared<CredentialSource>(identity.credentials, identity.source, renew,
                                             surroundings.wall_time),
          identity.region, identity.endpoint_url, identity.ca_file};
}

}  // namespace nbdstack
