// How many objects one request for many (DeleteObjects) removes.
//
// S3 takes 1,000 keys. But services work through them one after the other or a few at a time, and say
// nothing meanwhile: OpenStack Swift, which removes two at a time, took longer for 1,000 than a
// silence may last, at every attempt, so that a volume of that many objects could not be deleted.
//
//   at first                   kFirst
//   answered early             twice as many next time, S3's 1,000 at most
//   answered late              as many as take `aim`
//   no answer, it was given up an eighth of what was asked for; from kLeast on, that is the
//                              caller's failure
//
// Any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>

#include "common/sync/clock.hpp"

namespace nbdstack {

class RemovalPace {
 public:
  static constexpr std::size_t kLeast = 10;
  static constexpr std::size_t kFirst = 250;
  static constexpr std::size_t kMost = 1000;

  // `aim`: how long a request may well take.
  explicit RemovalPace(Duration aim) : aim_(aim) {}

  [[nodiscard]] std::size_t keys() const {
    const std::lock_guard lock(mutex_);
    return keys_;
  }

  // A request for `keys` took so long.
  void answered(std::size_t keys, Duration took) {
    const std::lock_guard lock(mutex_);
    if (took > aim_) {
      const double share =
          std::chrono::duration<double>(aim_) / std::chrono::duration<double>(took);
      keys_ = bounded(static_cast<std::size_t>(static_cast<double>(keys) * share));
    } else if (took < aim_ / 2 && keys >= keys_) {
      keys_ = bounded(2 * keys_);
    }
  }

  // One was given up. False: fewer are no way out.
  bool given_up(std::size_t keys) {
    const std::lock_guard lock(mutex_);
    keys_ = bounded(std::min(keys_, keys / kShare));
    return keys > kLeast;
  }

 private:
  static constexpr std::size_t kShare = 8;

  static std::size_t bounded(std::size_t keys) { return std::clamp(keys, kLeast, kMost); }

  const Duration aim_;
  mutable std::mutex mutex_;  // protects what follows
  std::size_t keys_ = kFirst;
};

}  // namespace nbdstack
