// The session that requests to a directory bucket (S3 Express One Zone) are signed with.
//
// CreateSession is signed with the user's credentials and returns others, which are valid for that
// bucket and for five minutes. The answer gives the end by the service's clock; the time until then
// is measured by a steady clock of ours. The service refuses a session that ends earlier.
//
//   the session is             a request
//   none, ended, or refused    creates one, and fails if that fails. Several requests may do so at
//                              the same time, without waiting; the last session to come is kept
//   in its last minute         creates one if no other request is doing so; otherwise, and if that
//                              fails, it is signed with the current one
//   younger                    is signed with it
//
// May be used by any thread; the caller's thread sends CreateSession, with no mutex held.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/http/http_client.hpp"

namespace nbdstack {

struct NewSession {
  Credentials credentials;
  Duration lifetime{};
};

class ExpressSession {
 public:
  explicit ExpressSession(std::shared_ptr<Clock> clock) : clock_(std::move(clock)) {}

  // `ask` sends CreateSession; its exceptions propagate.
  std::variant<Credentials, Failure> current(
      const std::function<std::variant<NewSession, Failure>()>& ask);

  // The service refused `failed` as expired or unknown.
  void refuse(const Credentials& failed);

 private:
  std::optional<Credentials> take(const std::variant<NewSession, Failure>& found, TimePoint asked);

  const std::shared_ptr<Clock> clock_;
  Mutex mutex_;
  std::optional<Credentials> session_ GUARDED_BY(mutex_);
  TimePoint end_ GUARDED_BY(mutex_){};
  bool is_renewing_ GUARDED_BY(mutex_) = false;
};

// Parses the answer to CreateSession. Returns nothing if it is no such document.
std::optional<NewSession> parse_session(const HttpResponse& response);

}  // namespace nbdstack
