// What nobody waits for: writing back what has been dirty for long, what a crash or an outage has
// left, and what was flushed to the durable store only; dropping what is too old to be trusted;
// committing the durable store from time to time.
#include <algorithm>

#include "common/log.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {
namespace {

// Blocks looked at without giving the mutex to others.
constexpr Slot kScanStep = 4096;

}  // namespace

bool BlockCache::needs_background() const {
  const MutexLock lock(mutex_);
  return schedule_.is_needed();
}

TimePoint BlockCache::background_step_here(TimePoint now) {
  MutexLock lock(mutex_);
  schedule_.advance(now);
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
  return schedule_.next_step(now);
}

TimePoint BlockCache::background_step(Layer& below, TimePoint now) {
  const TimePoint next = background_step_here(now);
  return may_work_below(now) ? background_step_below(below, now) : next;
}

TimePoint BlockCache::background_step_below(Layer& below, TimePoint now) {
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
    schedule_.succeeded();
  }
  return schedule_.next_step(now);
}

bool BlockCache::has_work_below() const {
  if (is_pressed_) return true;
  const bool unwritten = has_unwritten();
  const MutexLock lock(mutex_);
  return (store_->is_durable() && ledger_.is_in_doubt()) || schedule_.wants_everything() ||
         (schedule_.is_delaying() && unwritten);
}

bool BlockCache::may_work_below(TimePoint now) const {
  const MutexLock lock(mutex_);
  return schedule_.may_work_below(now);
}

TimePoint BlockCache::background_could_not_open(TimePoint now, const Error& error) {
  MutexLock lock(mutex_);
  background_failed(now, error);
  return schedule_.next_step(now);
}

// It stays dirty: the next flush tries again by itself, and the background after a while.
void BlockCache::background_failed(TimePoint now, const Error& error) {
  const Duration pause = schedule_.failed(now);
  ledger_.remember_failure(error);
  log::error("cache: write-back in the background failed and is tried again in {} s: {}",
             std::chrono::duration_cast<std::chrono::seconds>(pause).count(),
             error.is_reported() ? "the plugin has reported why" : error.what());
}

// A cache that was made smaller between two runs is brought down without waiting for requests.
void BlockCache::relieve_all(Layer& below) {
  const auto used = [this] {
    const MutexLock lock(mutex_);
    return residents_.occupied();
  };
  for (std::size_t before = used(); is_pressed_;) {
    relieve(below, true);
    const std::size_t after = used();
    if (after >= before) break;
    before = after;
  }
}

void BlockCache::write_back_due(Layer& below, TimePoint now) {
  std::vector<BlockNumber> blocks;
  std::vector<Range> zeros;
  bool in_doubt = false;
  {
    MutexLock lock(mutex_);
    const Schedule::Due due = schedule_.take_due(now, !residents_.zeros().empty());
    if (due.everything) {
      blocks = residents_.unwritten_blocks({0}, {geometry_.block_count()});
    } else if (due.overdue) {
      blocks = residents_.overdue_blocks();
    }
    in_doubt = store_->is_durable() && ledger_.is_in_doubt();
    if (due.zeros) zeros = residents_.zeros_in({0, geometry_.size_bytes()});
  }
  if (in_doubt) flush_below(below);
  if (blocks.empty() && zeros.empty()) return;
  const Settling settling(*this, below);
  write_back(below, std::move(blocks), std::move(zeros), Durability::on_flush);
  settle(below);
}

void BlockCache::drop_expired() {
  if (!schedule_.is_expiring()) return;
  for (Slot first = 0; residents_.drop_expired(first, kScanStep); first += kScanStep) {
    const MutexUnlock others_turn(mutex_);
  }
}

}  // namespace nbdstack
