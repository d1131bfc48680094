// The state that all transfers share in one direction: the bandwidth limit, and the number of
// transfers that it holds back.
//
// A transfer that may not send or receive for now pauses itself and tries again at ready_at().
// There is no queue: each piece costs its size, and all waiting transfers try again at about the
// same time.
//
// Any thread may call it. Without a limit no mutex is taken.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/http/bandwidth_limit.hpp"

namespace nbdstack {

class TransferDirection {
 public:
  explicit TransferDirection(std::uint64_t limit_bytes_s)  // 0 for none
      : is_limited_(limit_bytes_s > 0), limit_(limit_bytes_s) {}

  [[nodiscard]] bool is_limited() const { return is_limited_; }

  // Returns how many of `bytes` may pass now, and counts them as passed. If it returns 0, none may
  // pass before ready_at().
  std::size_t take_some(std::size_t bytes, TimePoint now) {
    if (!is_limited_) return bytes;
    const MutexLock lock(mutex_);
    const std::size_t taken = std::min(bytes, limit_.allowance(now));
    limit_.spend(taken);
    return taken;
  }
  // As take_some(), for a piece that passes as a whole or not at all.
  bool take_all(std::size_t bytes, TimePoint now) {
    if (!is_limited_) return true;
    const MutexLock lock(mutex_);
    if (limit_.allowance(now) == 0) return false;
    limit_.spend(bytes);
    return true;
  }
  // Returns the time at which a refused transfer should try again.
  [[nodiscard]] TimePoint ready_at(TimePoint now) {
    const MutexLock lock(mutex_);
    limit_.allowance(now);  // counts what has come since
    return limit_.ready_at();
  }

  void pause() { paused_.fetch_add(1, std::memory_order_relaxed); }
  void go_on() { paused_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] bool holds_somebody_back() const {
    return paused_.load(std::memory_order_relaxed) > 0;
  }

 private:
  const bool is_limited_;
  std::atomic<unsigned> paused_{0};
  Mutex mutex_;
  BandwidthLimit limit_ GUARDED_BY(mutex_);
};

struct TransferDirections {
  TransferDirection up;
  TransferDirection down;
};

}  // namespace nbdstack
