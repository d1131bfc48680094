// Limits the requests that a service has at once: to fewer after it has refused one as too many, or
// has left one without an answer.
//
// Additive increase, multiplicative decrease (Chiu and Jain, 1989), as TCP does it:
//
//   event                                     limit
//   at first                                  the configured maximum
//   503, 429, 509 or 529 to a request, or     halved, but at least 1
//     silence until its timeout
//   the same to a request that was sent       unchanged: the answers to one burst count once
//     before the limit was last halved
//   as many good answers as the limit is      one more, but at most the configured maximum
//
// Other failures leave it unchanged: they do not depend on the load of the service or the line.
// line_concurrency.hpp limits large transfers to those that the line has a use for.
//
// Externally synchronized, by its owner's lock (transfer_places.hpp).
#pragma once

#include <algorithm>

#include "common/sync/clock.hpp"

namespace nbdstack {

class InFlightLimit {
 public:
  explicit InFlightLimit(unsigned most) : most_(std::max(most, 1U)), limit_(most_) {}

  [[nodiscard]] unsigned limit() const { return limit_; }
  [[nodiscard]] bool is_lowered() const { return limit_ < most_; }

  void answered() {
    if (!is_lowered() || ++good_answers_ < limit_) return;
    good_answers_ = 0;
    ++limit_;
  }

  // `sent` is when the refused request was sent.
  void refused(TimePoint sent, TimePoint now) {
    if (sent < halved_) return;
    halved_ = now;
    good_answers_ = 0;
    limit_ = std::max(limit_ / 2, 1U);
  }

 private:
  const unsigned most_;
  unsigned limit_;
  unsigned good_answers_ = 0;  // since the limit was last changed
  TimePoint halved_ = TimePoint::min();
};

}  // namespace nbdstack
