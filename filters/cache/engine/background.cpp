#include "filters/cache/engine/background.hpp"

#include <new>
#include <utility>

#include "common/log.hpp"

namespace nbdstack {
namespace {

// The number of blocks visited before the mutex is released for others.
constexpr Slot kScanStep = 4096;

}  // namespace

bool Background::is_needed() const {
  const MutexLock lock(state_.mutex);
  return state_.schedule.is_needed();
}

TimePoint Background::step_here(TimePoint now) {
  MutexLock lock(state_.mutex);
  state_.schedule.advance(now);
  drop_expired();
  lock.unlock();
  std::optional<Error> failure;
  try {
    if (state_.store->is_durable()) {
      state_.commit();
      state_.store->confirm();
    }
  } catch (const Error& error) {
    failure = error;
  }
  lock.lock();
  if (failure) log::error("cache: {}", failure->what());
  return state_.schedule.next_step(now);
}

TimePoint Background::step(Layer& below, TimePoint now) {
  const TimePoint next = step_here(now);
  return may_work_below(now) ? step_below(below, now) : next;
}

TimePoint Background::step_below(Layer& below, TimePoint now) {
  std::optional<Error> failure;
  try {
    write_back_due(below, now);
    room_.free_all(below);
  } catch (const Error& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    failure = Error(ENOMEM, "cache: out of memory");
  }
  MutexLock lock(state_.mutex);
  if (failure) {
    failed(now, *failure);
  } else {
    state_.schedule.succeeded();
    fault_.succeeded();
  }
  return state_.schedule.next_step(now);
}

bool Background::has_work_below() const {
  if (state_.is_pressed) return true;
  const MutexLock lock(state_.mutex);
  return (state_.store->is_durable() && state_.ledger.is_in_doubt()) ||
         state_.schedule.wants_everything() ||
         (state_.schedule.is_delaying() && state_.residents.has_unwritten());
}

bool Background::may_work_below(TimePoint now) const {
  const MutexLock lock(state_.mutex);
  return state_.schedule.may_work_below(now);
}

TimePoint Background::could_not_open(TimePoint now, const Error& error) {
  MutexLock lock(state_.mutex);
  failed(now, error);
  return state_.schedule.next_step(now);
}

// The block stays dirty: the next flush retries it, and so does the background after a while.
void Background::failed(TimePoint now, const Error& error) {
  const Duration pause = state_.schedule.failed(now);
  state_.ledger.remember_failure(error);
  fault_.failed("cache: write-back in the background failed and is tried again in {} s: {}",
                std::chrono::duration_cast<std::chrono::seconds>(pause).count(), error.reason());
}

void Background::write_back_due(Layer& below, TimePoint now) {
  std::vector<BlockNumber> blocks;
  std::vector<Range> zeros;
  bool in_doubt = false;
  {
    MutexLock lock(state_.mutex);
    const Schedule::Due due = state_.schedule.take_due(now, !state_.residents.zeros().empty());
    if (due.everything) {
      blocks = state_.residents.unwritten_blocks(state_.whole_disk());
    } else if (due.overdue) {
      blocks = state_.residents.overdue_blocks();
    }
    in_doubt = state_.store->is_durable() && state_.ledger.is_in_doubt();
    if (due.zeros) zeros = state_.residents.zeros_in(state_.whole_disk());
  }
  if (in_doubt) flushes_.flush_below(below);
  if (blocks.empty() && zeros.empty()) return;
  const FlushTicket ticket(state_, below);
  write_backs_.run(below, std::move(blocks), std::move(zeros));
  write_backs_.flush_connection(below);
}

void Background::drop_expired() {
  if (!state_.schedule.is_expiring()) return;
  for (Slot first = 0; state_.residents.drop_expired(first, kScanStep); first += kScanStep) {
    const MutexUnlock others_turn(state_.mutex);
  }
}

}  // namespace nbdstack
