// Keeps credentials valid: each request gets the current ones, which are renewed in time.
//
//   the credentials are                 current() returns
//   valid for a while                   them
//   near their end, or just rejected    the first caller renews them; the others get the old ones
//   by the service                      (near the end) or wait (rejected)
//   past their end                      the new ones, for which all callers wait
//   past their end, and the renewal     AtTheirEnd::stop: Error(EACCES) with the source and the
//   fails                               reason; AtTheirEnd::go_on: as near their end
//
// Near their end: less than 5 minutes, or a tenth of their lifetime if that is shorter. A failed
// renewal is repeated after a second at first, then up to a minute. The log has a line when that
// begins, when the credentials end meanwhile, and when it is over.
//
// go_on is for credentials of the machine's own platform (metadata service, container): during an
// outage it may serve expired ones, which S3 may accept ("static stability" in AWS's SDKs).
//
// A renewal runs in a caller's thread, with no lock held; the source bounds its duration. No thread
// or connection is kept: a source may be made before a fork and used after it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/sync/mutex.hpp"
#include "common/wall_time.hpp"
#include "plugins/s3/aws/credential_chain.hpp"
#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/environment.hpp"

namespace nbdstack {

// The treatment of expired credentials that cannot be renewed.
enum class AtTheirEnd : std::uint8_t { stop, go_on };

class CredentialSource {
 public:
  // `name` is for messages. `renew` throws Error; if it is empty, the credentials never change.
  CredentialSource(Credentials first, std::string name, std::function<Credentials()> renew,
                   std::function<WallTime()> wall_time, AtTheirEnd at_their_end = AtTheirEnd::stop);
  // The source of these credentials, and no others.
  explicit CredentialSource(Credentials fixed);

  // May be called by any thread. Throws Error(EACCES) if they have ended and cannot be renewed.
  Credentials current();

  // Called after the service has refused `failed` as expired, invalid or unknown. Returns true if
  // another attempt with current() is useful, because there are other credentials by now or they
  // will be renewed first. It returns true once a minute for the same credentials: keys replaced in
  // a file are found, and keys that stay wrong are an error soon. May be called by any thread.
  bool invalidate(const Credentials& failed);

 private:
  [[nodiscard]] bool has_ended(WallTime now) const REQUIRES(mutex_);
  [[nodiscard]] bool is_near_end(WallTime now) const REQUIRES(mutex_);
  [[nodiscard]] bool is_pausing(WallTime now) const REQUIRES(mutex_);
  void renew() REQUIRES(mutex_);  // releases the mutex while it waits for the source
  void take(const Credentials& renewed, WallTime now) REQUIRES(mutex_);
  void take_failure(const std::string& reason, WallTime now) REQUIRES(mutex_);
  void log_failure(WallTime now) const REQUIRES(mutex_);

  const std::string name_;
  const std::function<Credentials()> renew_;
  const std::function<WallTime()> wall_time_;
  const AtTheirEnd at_their_end_;

  Mutex mutex_;
  ConditionVariable renewed_;
  Credentials current_ GUARDED_BY(mutex_);
  std::chrono::seconds margin_ GUARDED_BY(mutex_){0};  // renewed this long before their end
  bool renewing_ GUARDED_BY(mutex_) = false;
  bool is_extended_ GUARDED_BY(mutex_) = false;  // used past their end, for lack of others
  bool logged_end_ GUARDED_BY(mutex_) = false;   // since the last renewal
  bool rejected_ GUARDED_BY(mutex_) = false;     // by the service, and not renewed since
  std::optional<Credentials> last_rejected_ GUARDED_BY(mutex_);
  WallTime last_rejected_at_ GUARDED_BY(mutex_){};
  std::string last_failure_ GUARDED_BY(mutex_);  // empty if the last renewal succeeded
  WallTime failed_at_ GUARDED_BY(mutex_){};
  std::chrono::seconds pause_ GUARDED_BY(mutex_){0};  // after the last failure
};

struct FoundCredentials {
  std::shared_ptr<CredentialSource> source;
  std::string region;
  // From environment and profile; empty if neither sets them.
  ConfiguredUrl endpoint{};
  std::string ca_file{};
  bool virtual_host = false;
};

// Finds credentials in the order of credential_chain.hpp; exceptions of find_identity() propagate.
// They are renewed only from the source where they were found. The environment is copied.
FoundCredentials find_credentials(const CredentialParameters& parameters,
                                  const Environment& environment);

}  // namespace nbdstack
