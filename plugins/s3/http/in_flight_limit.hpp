// How many requests a service is given at once: fewer when it says that they are too many, or says
// nothing at all.
//
// Additive increase, multiplicative decrease (Chiu and Jain, 1989), as TCP does it:
//
//   event                                     limit
//   at first                                  the most that is configured
//   503, 429, 509 or 529 to a request, or     halved, but at least 1
//     silence until it is given up
//   the same to a request that was sent       unchanged: the answers to one burst are one piece of
//     before the limit was last halved          news
//   as many good answers as the limit is      one more, but at most what is configured
//
// Other failures leave it as it is: they say nothing about the load of the service or the line.
// How many large ones the line has a use for is another question (line_concurrency.hpp).
//
// Not thread-safe: its owner's lock protects it (transfer_places.hpp).
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
