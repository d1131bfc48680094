// The session that requests to a directory bucket (S3 Express One Zone) are signed with.
//
// CreateSession is signed with the user's credentials and answers with others, which are good for that
// bucket and for five minutes. How long that is, is told by the service's own clock; it is measured by
// one of ours that nobody sets, and a session that ends earlier is refused by the service.
//
//   the session is             a request
//   none, ended, or refused    asks for one, and fails if that fails. Several may ask at the same
//                              time: nobody waits for anybody, and the session that came last stays
//   in its last minute         asks for one if nobody is doing so; else, and if that fails, it goes
//                              on with the one there is
//   younger                    is signed with it
//
// Any thread; asking happens in the caller's, with no lock held.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>

#include "common/sync/clock.hpp"
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

  // `ask` sends CreateSession.
  std::variant<Credentials, Failure> current(
      const std::function<std::variant<NewSession, Failure>()>& ask);

  // The service refused `failed` as expired or unknown.
  void refuse(const Credentials& failed);

 private:
  std::optional<Credentials> take(const std::variant<NewSession, Failure>& found, TimePoint asked);

  const std::shared_ptr<Clock> clock_;
  std::mutex mutex_;  // protects what follows
  std::optional<Credentials> session_;
  TimePoint end_{};
  bool is_renewing_ = false;
};

// What CreateSession answered; nothing for what is no such document.
std::optional<NewSession> parse_session(const HttpResponse& response);

}  // namespace nbdstack
