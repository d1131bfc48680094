// Exclusive ownership of ranges of a disk: "one write of these bytes at a time".
//
// A range waits for all earlier ranges that overlap it, so no thread starves, and two writers of
// the same bytes are served in one order at every level. Ranges that do not overlap never wait for
// each other. A range is the right to change bytes of the disk, not a mutex around a data
// structure: it is meant to be owned while the layer below works.
//
// A thread owns one range at a time: with a second one it could wait for itself. Cost: linear in
// the number of ranges that are owned or waited for, which the requests in flight bound.
#pragma once

#include <cstddef>
#include <list>
#include <optional>
#include <utility>

#include "common/block/range.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

class RangeLock {
  struct Claim {
    Range range;
    std::size_t blockers = 0;  // earlier claims that overlap this one and still exist
    ConditionVariable granted;
  };

 public:
  // Owns a range for as long as it lives.
  class Guard {
   public:
    Guard(RangeLock& lock, const Range& range) : lock_(&lock), claim_(lock.acquire(range)) {}
    Guard(Guard&& other) noexcept
        : lock_(std::exchange(other.lock_, nullptr)), claim_(other.claim_) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (lock_ != nullptr) lock_->release(claim_);
    }

   private:
    friend RangeLock;
    Guard(RangeLock& lock, std::list<Claim>::iterator claim) : lock_(&lock), claim_(claim) {}

    RangeLock* lock_;
    std::list<Claim>::iterator claim_;
  };

  // Returns nothing if any part of the range is owned or waited for. Never waits, so it may be
  // called while another range is owned.
  [[nodiscard]] std::optional<Guard> try_acquire(const Range& range) {
    const MutexLock lock(mutex_);
    for (const Claim& claim : claims_) {
      if (claim.range.overlaps(range)) return std::nullopt;
    }
    return Guard(*this, add(range, 0));
  }

  // Claims that are owned or waited for: shows a test that a thread has begun to wait.
  [[nodiscard]] std::size_t claims() const {
    const MutexLock lock(mutex_);
    return claims_.size();
  }

 private:
  std::list<Claim>::iterator acquire(const Range& range) {
    const MutexLock lock(mutex_);
    std::size_t blockers = 0;
    for (const Claim& claim : claims_) blockers += claim.range.overlaps(range) ? 1 : 0;
    const auto mine = add(range, blockers);
    while (mine->blockers > 0) mine->granted.wait(mutex_);
    return mine;
  }

  void release(std::list<Claim>::iterator mine) {
    const MutexLock lock(mutex_);
    for (auto later = std::next(mine); later != claims_.end(); ++later) {
      if (!later->range.overlaps(mine->range)) continue;
      if (--later->blockers == 0) later->granted.notify_one();
    }
    spare_.splice(spare_.end(), claims_, mine);
  }

  std::list<Claim>::iterator add(const Range& range, std::size_t blockers) REQUIRES(mutex_) {
    if (spare_.empty()) spare_.emplace_back();
    claims_.splice(claims_.end(), spare_, std::prev(spare_.end()));
    const auto mine = std::prev(claims_.end());
    mine->range = range;
    mine->blockers = blockers;
    return mine;
  }

  mutable Mutex mutex_;                         // never held while a range is owned
  std::list<Claim> claims_ GUARDED_BY(mutex_);  // in the order of their requests
  std::list<Claim> spare_ GUARDED_BY(mutex_);   // used before, kept to be used again
};

}  // namespace nbdstack
