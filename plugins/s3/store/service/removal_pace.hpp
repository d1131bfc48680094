// Determines how many objects one request for many (DeleteObjects) removes.
//
// S3 accepts 1,000 keys. But services remove them one after the other or a few at a time, and send
// nothing meanwhile: OpenStack Swift, which removes two at a time, took longer for 1,000 than a
// silence may last, at every attempt, so that a volume of that many objects could not be deleted.
//
//   at first                   kFirst
//   answered early             twice as many next time, S3's 1,000 at most
//   answered late              as many as take `aim`
//   given up without answer    an eighth of the request's; at kLeast, the removal fails
//
// May be used by any thread.
#pragma once

#include <algorithm>
#include <cstddef>

#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

class RemovalPace {
 public:
  static constexpr std::size_t kLeast = 10;
  static constexpr std::size_t kFirst = 250;
  static constexpr std::size_t kMost = 1000;

  // `aim` is the longest time that a request should take.
  explicit RemovalPace(Duration aim) : aim_(aim) {}

  [[nodiscard]] std::size_t keys() const {
    const MutexLock lock(mutex_);
    return keys_;
  }

  // A request for `keys` was answered after the duration `took`.
  void answered(std::size_t keys, Duration took) {
    const MutexLock lock(mutex_);
    if (took > aim_) {
      const double share =
          std::chrono::duration<double>(aim_) / std::chrono::duration<double>(took);
      keys_ = bounded(static_cast<std::size_t>(static_cast<double>(keys) * share));
    } else if (took < aim_ / 2 && keys >= keys_) {
      keys_ = bounded(2 * keys_);
    }
  }

  // A request for `keys` was given up. Returns false if fewer keys would not help.
  bool given_up(std::size_t keys) {
    const MutexLock lock(mutex_);
    keys_ = bounded(std::min(keys_, keys / kShare));
    return keys > kLeast;
  }

 private:
  static constexpr std::size_t kShare = 8;

  static std::size_t bounded(std::size_t keys) { return std::clamp(keys, kLeast, kMost); }

  const Duration aim_;
  mutable Mutex mutex_;
  std::size_t keys_ GUARDED_BY(mutex_) = kFirst;
};

}  // namespace nbdstack
