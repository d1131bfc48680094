// What clients ask for: that what they wrote is durable.
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {

// A directory that was removed under the server keeps nothing of what is flushed to it.
bool BlockCache::flushes_here() {
  if (settings_.flush != FlushTo::local) return false;
  const bool is_there = store_->is_found_again();
  if (!is_there && !directory_is_gone_.exchange(true)) {
    log::error(
        "cache: {} is not there any more: flushes wait for the plugin, until the server is "
        "started again",
        store_->name());
  }
  return is_there;
}

// What went below outside of a flush has to be covered by a later flush on any connection, as the
// cache promises it. Where the layer below does not, it is flushed at once on the connection that
// it went through.
void BlockCache::settle(Layer& below) const {
  const LayerTraits& traits = below.traits();
  const bool promised = settings_.makes_flushes_durable();
  if (promised && !traits.can_multi_conn && traits.can_flush) below.flush();
}

void BlockCache::want_background() {
  {
    const MutexLock lock(mutex_);
    schedule_.want_everything();
  }
  wake_();
}

// A client that has not been told of a failure takes what it wrote for stored until it asks. With
// FlushTo::local a flush never promised anything about the layer below.
void BlockCache::report_background_failure() {
  if (settings_.flush == FlushTo::local) return;
  const MutexLock lock(mutex_);
  if (const auto failure = ledger_.take_failure()) throw Error(*failure);
}

void BlockCache::forget_background_failure() {
  const MutexLock lock(mutex_);
  ledger_.forget_failure();
}

void BlockCache::flush(Layer& below) {
  if (settings_.ignores_flushes()) return;
  if (flushes_here()) {
    commit();
    want_background();
    report_damage();
    return;
  }
  const Settling settling(*this, below);
  try {
    commit();  // also what has gone around the cache, and left nothing dirty
    write_back_all(below);
    flush_below(below);
    settling.wait_for_earlier();
  } catch (const Error&) {
    forget_background_failure();  // this is its report
    throw;
  }
  report_background_failure();
  report_damage();
}

// A layer that cannot be flushed stores what it has acknowledged.
void BlockCache::flush_below(Layer& below) {
  MutexLock lock(mutex_);
  const std::uint64_t doubts = ledger_.doubts();
  lock.unlock();
  if (below.traits().can_flush) below.flush();
  lock.lock();
  ledger_.flushed(doubts);
}

void BlockCache::settle_client(Layer& below) {
  if (settings_.ignores_flushes()) return;
  if (flushes_here()) {
    commit();
    want_background();
  } else {
    const Settling settling(*this, below);
    write_back_all(below);
    settle(below);
  }
}

void BlockCache::write_back_all(Layer& below) {
  MutexLock lock(mutex_);
  std::vector<BlockNumber> blocks = residents_.unwritten_blocks({0}, {geometry_.block_count()});
  std::vector<Range> zeros = residents_.zeros_in({0, geometry_.size_bytes()});
  lock.unlock();
  if (!blocks.empty() || !zeros.empty()) {
    write_back(below, std::move(blocks), std::move(zeros), Durability::on_flush);
  }
}

// FUA for what has been written to the cache. Where somebody else's write-back took part of it
// below, it did so without FUA, and a flush completes it.
void BlockCache::make_durable(Layer& below, const Range& range) {
  if (flushes_here()) {
    commit();
    want_background();
    return;
  }
  MutexLock lock(mutex_);
  const BlockNumber first = geometry_.block_at(range.offset);
  const BlockNumber end = geometry_.block_at(range.end() - 1).next();
  std::vector<BlockNumber> blocks = residents_.unwritten_blocks(first, end);
  std::vector<Range> zeros = residents_.zeros_in(range);
  lock.unlock();
  const Settling settling(*this, below);
  const bool native = below.traits().fua != Support::none;
  WriteBack work{.below = below,
                 .durability = native ? Durability::fua : Durability::on_flush,
                 .wanted = range};
  write_back_dirty(work, blocks);
  write_back_zeros(work, zeros);
  try {
    if (work.failure) throw Error(*work.failure);
    if (!native || work.durable_bytes != blocks_covering(range).length) {
      write_back(below, std::move(blocks), std::move(zeros), Durability::on_flush);
      flush_below(below);
      settling.wait_for_earlier();
    }
  } catch (const Error&) {
    forget_background_failure();  // this is its report
    throw;
  }
  report_background_failure();
}

void BlockCache::close() {
  if (!store_->is_durable()) return;
  MutexLock lock(mutex_);
  const std::vector<Slot> order = residents_.in_eviction_order();
  lock.unlock();
  commit();
  store_->close(order);
}

}  // namespace nbdstack
