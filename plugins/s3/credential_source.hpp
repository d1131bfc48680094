// Credentials that stay valid: whoever sends a request asks for the current ones, and they are
// renewed in time while requests go on.
//
//   the credentials are                 current() gives
//   valid for a while                   them
//   near their end, or rejected by      the caller that comes first renews them; the others get
//   the service a moment ago            the old ones (near the end) or wait (rejected)
//   past their end                      the new ones, for which everybody waits
//
// Near their end: less than 5 minutes, or a tenth of their lifetime if that is shorter. A renewal
// that fails is said in the log and tried again, after a second at first, then up to a minute;
// meanwhile the old credentials are given out, until they end. Then there is Error(EACCES), which
// says where they come from and what went wrong.
//
// A renewal happens in a caller's thread, with no lock held; its length is bounded by the source.
// No thread and no connection is kept: a source may be made before a fork and used after it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "plugins/s3/credential_chain.hpp"
#include "plugins/s3/credentials.hpp"
#include "plugins/s3/surroundings.hpp"

namespace nbdstack {

class CredentialSource {
 public:
  using WallTime = std::chrono::system_clock::time_point;

  // `name` is for messages. `renew` throws Error; empty: the credentials never change.
  CredentialSource(Credentials first, std::string name, std::function<Credentials()> renew,
                   std::function<WallTime()> wall_time);
  // These and no others.
  explicit CredentialSource(Credentials fixed);

  // Any thread. Throws Error(EACCES) when they have ended and cannot be renewed.
  Credentials current();

  // The service refused `failed` as expired, invalid or unknown. True: asking current() again is
  // worth another attempt, because there are other credentials by now or they will be renewed
  // first. For the same credentials that is so once a minute, so that keys replaced in a file are
  // found, and keys that stay wrong are an error soon. Any thread.
  bool invalidate(const Credentials& failed);

 private:
  [[nodiscard]] bool has_ended(WallTime now) const;
  [[nodiscard]] bool is_near_end(WallTime now) const;
  [[nodiscard]] bool is_pausing(WallTime now) const;
  void renew(std::unique_lock<std::mutex>& lock);
  void take(const Credentials& renewed, WallTime now);
  void take_failure(const std::string& reason, WallTime now);

  const std::string name_;
  const std::function<Credentials()> renew_;
  const std::function<WallTime()> wall_time_;

  std::mutex mutex_;  // protects what follows; not held while renewing
  std::condition_variable renewed_;
  Credentials current_;
  std::chrono::seconds margin_{0};  // this long before their end they are renewed
  bool renewing_ = false;
  bool rejected_ = false;  // by the service, and not renewed since
  std::optional<Credentials> last_rejected_;
  WallTime last_rejected_at_{};
  std::string last_failure_;  // empty: the last renewal succeeded
  WallTime failed_at_{};
  std::chrono::seconds pause_{0};  // after the last failure
};

struct FoundCredentials {
  std::shared_ptr<CredentialSource> source;
  std::string region;
  // Of the profile; empty: it says nothing.
  std::string endpoint_url{};
  std::string ca_file{};
};

// Looks for credentials by the order in credential_chain.hpp, and throws what find_identity throws.
// They are renewed from where they were found, and from nowhere else. The surroundings are copied.
FoundCredentials find_credentials(const CredentialParameters& parameters,
                                  const Surroundings& surroundings);

}  // namespace nbdstack
