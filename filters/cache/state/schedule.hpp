// Externally synchronized: decides when the background of a cache has something to do.
//
// Time is counted in ticks, eight of them in write_delay or timeout, so that two bytes a block are
// enough: a block notes the tick in which it became dirty, and that in which its first page was
// cached. A block is due after nine of them, hence never early and at most an eighth late.
//
// After a failure below the background pauses: for a second, then twice as long each time, at most
// a minute. Everything dirty is due when the pause is over.
#pragma once

#include <cstdint>
#include <optional>

#include "common/sync/clock.hpp"
#include "filters/cache/state/settings.hpp"

namespace nbdstack {

class Schedule {
 public:
  using Tick = std::uint16_t;

  Schedule(const CacheSettings& settings, bool store_is_durable)
      : write_delay_(settings.write_delay),
        timeout_(settings.timeout),
        commits_(store_is_durable) {}

  // Returns whether there is ever anything to do with these settings.
  [[nodiscard]] bool is_needed() const { return commits_ || is_delaying() || is_expiring(); }
  // Return whether dirty blocks are written below after a while, and clean ones leave the cache.
  [[nodiscard]] bool is_delaying() const { return write_delay_ > Duration::zero(); }
  [[nodiscard]] bool is_expiring() const { return timeout_ > Duration::zero(); }

  void advance(TimePoint now);
  // Return the ticks for a block that becomes dirty, or is cached, now.
  [[nodiscard]] Tick dirty_tick() const { return dirty_tick_; }
  [[nodiscard]] Tick clean_tick() const { return clean_tick_; }
  // Returns the beginning of a tick in which a block became dirty. That must be less than 2^16
  // ticks ago: 18 hours, if no write_delay is set.
  [[nodiscard]] TimePoint time_of(Tick dirty_since) const;
  [[nodiscard]] bool is_overdue(Tick dirty_since) const { return is_due(dirty_since, dirty_tick_); }
  [[nodiscard]] bool is_expired(Tick cached_since) const {
    return is_due(cached_since, clean_tick_);
  }

  // Requests that everything dirty is written back soon.
  void want_everything() { everything_wanted_ = true; }
  [[nodiscard]] bool wants_everything() const { return everything_wanted_; }

  struct Due {
    bool everything = false;
    bool overdue = false;  // the blocks for which is_overdue() is true
    bool zeros = false;    // ranges of zeros: they are as old as the first of them
  };
  // Returns what is to be written back now, and ends the request for it.
  [[nodiscard]] Due take_due(TimePoint now, bool has_zeros);

  [[nodiscard]] bool may_work_below(TimePoint now) const { return !retry_at_ || now >= *retry_at_; }
  // Returns the pause.
  Duration failed(TimePoint now);
  void succeeded();
  // Returns the latest time of the next step.
  [[nodiscard]] TimePoint next_step(TimePoint now) const;

 private:
  [[nodiscard]] Duration dirty_tick_length() const;
  [[nodiscard]] static bool is_due(Tick since, Tick now);

  const Duration write_delay_;
  const Duration timeout_;
  const bool commits_;
  Tick dirty_tick_ = 0;  // in parts of write_delay_, or in seconds if there is none
  Tick clean_tick_ = 0;  // in parts of timeout_
  bool everything_wanted_ = false;
  std::optional<TimePoint> started_at_;
  std::int64_t dirty_ticks_ = 0;          // since then; dirty_tick_ is a part of it
  std::optional<TimePoint> zeros_since_;  // the oldest range of zeros waits at least since then
  std::optional<TimePoint> retry_at_;     // the end of the pause after a failure
  Duration pause_{};                      // after the last failure
};

}  // namespace nbdstack
