#include "filters/cache/state/schedule.hpp"

#include <algorithm>
#include <utility>

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kTicks = 8;

// Bounds the unflushed writes that a crash of the machine may cost, and the journal that the next
// start has to read.
constexpr Duration kCommitInterval = seconds(5);

constexpr Duration kFirstRetry = seconds(1);
constexpr Duration kLongestRetry = seconds(60);

Duration length_of_tick(Duration whole) {
  return std::max<Duration>(whole / kTicks, milliseconds(1));
}

}  // namespace

bool Schedule::is_due(Tick since, Tick now) {
  return static_cast<Tick>(now - since) > kTicks;
}

void Schedule::advance(TimePoint now) {
  if (!started_at_) started_at_ = now;
  const Duration elapsed = now - *started_at_;
  dirty_ticks_ = elapsed / dirty_tick_length();
  dirty_tick_ = static_cast<Tick>(dirty_ticks_);
  if (is_expiring()) clean_tick_ = static_cast<Tick>(elapsed / length_of_tick(timeout_));
}

Duration Schedule::dirty_tick_length() const {
  return is_delaying() ? length_of_tick(write_delay_) : seconds(1);
}

TimePoint Schedule::time_of(Tick dirty_since) const {
  const auto ago = static_cast<Tick>(dirty_tick_ - dirty_since);
  return started_at_.value_or(TimePoint()) + (dirty_ticks_ - ago) * dirty_tick_length();
}

Schedule::Due Schedule::take_due(TimePoint now, bool has_zeros) {
  Due due{.everything = std::exchange(everything_wanted_, false), .overdue = is_delaying()};
  if (!has_zeros) {
    zeros_since_.reset();
  } else if (!zeros_since_) {
    zeros_since_ = now;
  }
  due.zeros =
      due.everything || (is_delaying() && zeros_since_ && now - *zeros_since_ >= write_delay_);
  if (due.zeros) zeros_since_.reset();
  return due;
}

Duration Schedule::failed(TimePoint now) {
  pause_ = std::clamp<Duration>(pause_ * 2, kFirstRetry, kLongestRetry);
  retry_at_ = now + pause_;
  everything_wanted_ = true;
  return pause_;
}

void Schedule::succeeded() {
  retry_at_.reset();
  pause_ = Duration::zero();
}

TimePoint Schedule::next_step(TimePoint now) const {
  TimePoint next = now + std::chrono::hours(1);
  const auto within = [&](Duration duration) {
    next = std::min(next, now + std::max<Duration>(duration, milliseconds(1)));
  };
  if (is_delaying()) within(write_delay_ / kTicks);
  if (is_expiring()) within(timeout_ / kTicks);
  if (commits_) within(kCommitInterval);
  if (retry_at_) {
    within(std::max<Duration>(*retry_at_ - now, Duration::zero()));
  } else if (everything_wanted_) {
    next = now;
  }
  return next;
}

}  // namespace nbdstack
