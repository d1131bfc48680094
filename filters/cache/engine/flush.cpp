#include "filters/cache/engine/flush.hpp"

#include <optional>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {

// Flushed content in a directory that was removed under the server is not safe.
bool Flushes::flushed_here() {
  if (state_.settings.flush != FlushTo::local) return false;
  if (!state_.store->is_found_again()) {
    if (!directory_is_gone_.exchange(true)) {
      log::error(
          "cache: {} is not there any more: flushes wait for the plugin, until the server is "
          "started again",
          state_.store->name());
    }
    return false;
  }
  state_.commit();
  {
    const MutexLock lock(state_.mutex);
    state_.schedule.want_everything();
  }
  state_.wake_background();
  return true;
}

// A client that has not been told of a failure believes that its writes are stored until it
// flushes. A flush that fails itself is such a report. With FlushTo::local a flush never guaranteed
// anything about the layer below.
void Flushes::with_report(const std::function<void()>& make_durable) {
  std::optional<Error> failure;
  try {
    make_durable();
  } catch (const Error& error) {
    failure = error;
  }
  MutexLock lock(state_.mutex);
  const bool is_told = failure || state_.settings.flush != FlushTo::local;
  const auto earlier = is_told ? state_.ledger.take_failure() : std::nullopt;
  lock.unlock();
  if (failure) throw Error(*failure);
  if (earlier) throw Error(*earlier);
}

void Flushes::flush(Layer& below) {
  if (state_.settings.ignores_flushes()) return;
  if (flushed_here()) return state_.report_damage();
  const FlushTicket ticket(state_, below);
  with_report([&] {
    state_.commit();  // also changes that bypassed the cache, and left nothing dirty
    write_back_all(below);
    flush_below(below);
    ticket.wait_for_earlier();
  });
  state_.report_damage();
}

// A layer that cannot be flushed has stored what it acknowledged.
void Flushes::flush_below(Layer& below) {
  MutexLock lock(state_.mutex);
  const std::uint64_t doubts = state_.ledger.doubts();
  lock.unlock();
  if (below.traits().can_flush) below.flush();
  lock.lock();
  state_.ledger.flushed(doubts);
}

void Flushes::last_client_left(Layer& below) {
  if (state_.settings.ignores_flushes() || flushed_here()) return;
  const FlushTicket ticket(state_, below);
  write_back_all(below);
  write_backs_.flush_connection(below);
}

void Flushes::write_back_all(Layer& below) {
  MutexLock lock(state_.mutex);
  std::vector<BlockNumber> blocks = state_.residents.unwritten_blocks(state_.whole_disk());
  std::vector<Range> zeros = state_.residents.zeros_in(state_.whole_disk());
  lock.unlock();
  if (!blocks.empty() || !zeros.empty()) {
    write_backs_.run(below, std::move(blocks), std::move(zeros));
  }
}

// If another caller's write-back took part of it below, it did so without FUA, and a flush
// completes that.
void Flushes::make_durable(Layer& below, const Range& range) {
  if (flushed_here()) return;
  MutexLock lock(state_.mutex);
  std::vector<BlockNumber> blocks = state_.residents.unwritten_blocks(range);
  std::vector<Range> zeros = state_.residents.zeros_in(range);
  lock.unlock();
  const FlushTicket ticket(state_, below);
  const bool native = below.traits().fua != Support::none;
  WriteBack work{.below = below,
                 .durability = native ? Durability::fua : Durability::on_flush,
                 .wanted = range};
  write_backs_.try_blocks(work, blocks);
  write_backs_.try_zeros(work, zeros);
  with_report([&] {
    if (work.failure) throw Error(*work.failure);
    if (native && work.durable_bytes == state_.blocks_covering(range).length) return;
    write_backs_.run(below, std::move(blocks), std::move(zeros));
    flush_below(below);
    ticket.wait_for_earlier();
  });
}

}  // namespace nbdstack
