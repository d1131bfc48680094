// What nobody waits for: writing back what has been dirty for long, what a crash or an outage has
// left, and what was flushed to the durable store only; dropping what is too old to be trusted;
// committing the durable store from time to time.
//
// Time is counted in ticks, kTicks of them in write_delay or timeout, so that two bytes a block are
// enough: a block notes the tick in which it became dirty, and that in which its first page was
// cached. A block is due after kTicks + 1 of them, hence never early and at most an eighth late.
#include <algorithm>

#include "common/log.hpp"
#include "filters/cache/block_cache.hpp"

namespace nbdstack {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kTicks = 8;

// What a kill of the machine may cost of writes that no flush has covered, and what the next start
// has to look through.
constexpr Duration kCommitInterval = seconds(5);

// Between attempts to write back over a layer that fails.
constexpr Duration kFirstRetry = seconds(1);
constexpr Duration kLongestRetry = seconds(60);

// Blocks looked at without giving the mutex to others.
constexpr Slot kScanStep = 4096;

std::uint16_t tick_of(Duration elapsed, Duration whole) {
  return static_cast<std::uint16_t>(elapsed / std::max<Duration>(whole / kTicks, milliseconds(1)));
}

bool is_due(std::uint16_t since, std::uint16_t now) {
  return static_cast<std::uint16_t>(now - since) > kTicks;
}

}  // namespace

bool BlockCache::needs_background() const {
  return store_->is_durable() || settings_.write_delay > Duration::zero() ||
         settings_.timeout > Duration::zero();
}

void BlockCache::want_background() {
  {
    const MutexLock lock(mutex_);
    background_wanted_ = true;
  }
  wake_();
}

TimePoint BlockCache::background_step_here(TimePoint now) {
  MutexLock lock(mutex_);
  advance_ticks(now);
  drop_expired();
  lock.unlock();
  std::optional<Error> failure;
  try {
    if (store_->is_durable()) {
      commit();
      store_->confirm();
    }
  } catch (const Error& error) {
    failure = error;
  }
  lock.lock();
  if (failure) log::error("cache: {}", failure->what());
  return next_step(now);
}

TimePoint BlockCache::background_step(Layer& below, TimePoint now) {
  const TimePoint next = background_step_here(now);
  if (!may_work_below(now)) return next;
  std::optional<Error> failure;
  try {
    write_back_due(below, now);
    relieve_all(below);
  } catch (const Error& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    failure = Error(ENOMEM, "cache: out of memory");
  }
  MutexLock lock(mutex_);
  if (failure) {
    background_failed(now, *failure);
  } else {
    retry_at_.reset();
    retry_delay_ = Duration::zero();
  }
  return next_step(now);
}

bool BlockCache::has_work_below() const {
  if (pressed_ || (store_->is_durable() && doubts_ != settled_doubts_)) return true;
  const bool delayed = settings_.write_delay > Duration::zero() && has_unwritten();
  const MutexLock lock(mutex_);
  return delayed || background_wanted_;
}

bool BlockCache::may_work_below(TimePoint now) const {
  const MutexLock lock(mutex_);
  return !retry_at_ || now >= *retry_at_;
}

TimePoint BlockCache::background_could_not_open(TimePoint now, const Error& error) {
  MutexLock lock(mutex_);
  background_failed(now, error);
  return next_step(now);
}

// It stays dirty: the next flush tries again by itself, and the background after a while.
void BlockCache::background_failed(TimePoint now, const Error& error) {
  retry_delay_ = std::clamp<Duration>(retry_delay_ * 2, kFirstRetry, kLongestRetry);
  retry_at_ = now + retry_delay_;
  background_wanted_ = true;
  unreported_ = error;
  log::error("cache: write-back in the background failed and is tried again in {} s: {}",
             duration_cast<seconds>(retry_delay_).count(),
             error.is_reported() ? "the plugin has reported why" : error.what());
}

// A client that has not been told of a failure takes what it wrote for stored until it asks. With
// FlushTo::local a flush never promised anything about the layer below.
void BlockCache::report_background_failure() {
  if (settings_.flush == FlushTo::local) return;
  const MutexLock lock(mutex_);
  if (const auto failure = std::exchange(unreported_, std::nullopt)) throw Error(*failure);
}

void BlockCache::forget_background_failure() {
  const MutexLock lock(mutex_);
  unreported_.reset();
}

// A cache that was made smaller between two runs is brought down without waiting for requests.
void BlockCache::relieve_all(Layer& below) {
  const auto used = [this] {
    const MutexLock lock(mutex_);
    return occupied();
  };
  for (std::size_t before = used(); pressed_;) {
    relieve(below, true);
    const std::size_t after = used();
    if (after >= before) break;
    before = after;
  }
}

void BlockCache::advance_ticks(TimePoint now) {
  if (!started_at_) started_at_ = now;
  const Duration elapsed = now - *started_at_;
  if (settings_.write_delay > Duration::zero()) {
    dirty_tick_ = tick_of(elapsed, settings_.write_delay);
  }
  if (settings_.timeout > Duration::zero()) clean_tick_ = tick_of(elapsed, settings_.timeout);
}

void BlockCache::write_back_due(Layer& below, TimePoint now) {
  std::vector<BlockNumber> blocks;
  std::vector<Range> zeros;
  {
    MutexLock lock(mutex_);
    const bool everything = std::exchange(background_wanted_, false);
    if (zeros_.empty()) {
      zeros_since_.reset();
    } else if (!zeros_since_) {
      zeros_since_ = now;
    }
    const bool delayed = settings_.write_delay > Duration::zero();
    const bool zeros_due =
        everything || (delayed && zeros_since_ && now - *zeros_since_ >= settings_.write_delay);
    if (everything) {
      blocks = unwritten_blocks({0}, {geometry_.block_count()});
    } else if (delayed) {
      blocks = overdue_blocks();
    }
    if (zeros_due) {
      zeros = remembered_zeros({0, geometry_.size_bytes()});
      zeros_since_.reset();
    }
  }
  if (store_->is_durable() && doubts_ != settled_doubts_) flush_below(below);
  if (blocks.empty() && zeros.empty()) return;
  const auto settling = settlement(below);
  write_back(below, std::move(blocks), std::move(zeros), Durability::on_flush);
  settle(below);
}

// Oldest first, so the first one that is not due ends the search.
std::vector<BlockNumber> BlockCache::overdue_blocks() const {
  std::vector<BlockNumber> blocks;
  const SlotList& unwritten = table_.unwritten();
  for (Slot slot = unwritten.back(); slot != kNoSlot; slot = unwritten.newer(slot)) {
    if (!is_due(table_[slot].dirty_since, dirty_tick_)) break;
    blocks.push_back(table_[slot].block());
  }
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

void BlockCache::drop_expired() {
  if (settings_.timeout <= Duration::zero()) return;
  for (Slot slot = 0; slot < table_.slots(); ++slot) {
    if (slot % kScanStep == kScanStep - 1) {
      const MutexUnlock others_turn(mutex_);
    }
    const BlockTable::Entry& entry = table_[slot];
    if (entry.is_attached() && may_evict(slot) && is_due(entry.cached_since, clean_tick_)) {
      drop(slot, EvictionPolicy::Removal::dropped);
    }
  }
}

TimePoint BlockCache::next_step(TimePoint now) const {
  TimePoint next = now + std::chrono::hours(1);
  const auto within = [&](Duration duration) {
    next = std::min(next, now + std::max<Duration>(duration, milliseconds(1)));
  };
  if (settings_.write_delay > Duration::zero()) within(settings_.write_delay / kTicks);
  if (settings_.timeout > Duration::zero()) within(settings_.timeout / kTicks);
  if (store_->is_durable()) within(kCommitInterval);
  if (retry_at_) {
    within(std::max<Duration>(*retry_at_ - now, Duration::zero()));
  } else if (background_wanted_) {
    next = now;
  }
  return next;
}

}  // namespace nbdstack
