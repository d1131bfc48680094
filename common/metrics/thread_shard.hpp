// The part of all cells that a thread counts in.
//
// Each cell exists once in each shard, and a reader adds them up. As long as there are shards, each
// thread has one for itself, and counts without an atomic addition, which would cost some 10 ns
// instead of one. A thread that ends leaves its shard, with what it has counted, to the next one.
// Threads beyond kOwnShards share the last shard.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace nbdstack {

// A number that is read by others while one thread changes it: all accesses are atomic.
using MetricCell = std::uint64_t;

constexpr std::size_t kOwnShards = 64;
constexpr std::size_t kShards = kOwnShards + 1;
// The cells of one shard lie together: the same cell of the next shard is so many cells further.
constexpr std::size_t kCellsOfShard = 1024;

class ThreadShard {
 public:
  static ThreadShard& of_this_thread() {
    thread_local ThreadShard shard;
    return shard;
  }
  ThreadShard(const ThreadShard&) = delete;
  ThreadShard& operator=(const ThreadShard&) = delete;

  // `cell` is that of the first shard.
  void add(MetricCell* cell, std::uint64_t count) const noexcept {
    const std::atomic_ref<MetricCell> own(cell[number_ * kCellsOfShard]);
    if (number_ == kOwnShards) {
      own.fetch_add(count, std::memory_order_relaxed);
    } else {
      own.store(own.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
    }
  }

  // Returns true once in kCallsForSample calls: it costs more to measure the duration of a request
  // than 1 % of one that is answered from memory.
  bool is_sample() noexcept {
    if (++calls_ < kCallsForSample) return false;
    calls_ = 0;
    return true;
  }
  static constexpr unsigned kCallsForSample = 31;  // no multiple of what a client may do in turns

 private:
  // Takes the first free shard. The last thread that had it has left its counts there before.
  ThreadShard() noexcept {
    std::uint64_t taken = taken_.load(std::memory_order_relaxed);
    do {
      number_ = static_cast<std::size_t>(std::countr_one(taken));
    } while (number_ < kOwnShards &&
             !taken_.compare_exchange_weak(taken, taken | std::uint64_t{1} << number_,
                                           std::memory_order_acquire, std::memory_order_relaxed));
  }
  ~ThreadShard() {
    if (number_ == kOwnShards) return;
    taken_.fetch_and(~(std::uint64_t{1} << number_), std::memory_order_release);
  }

  inline static std::atomic<std::uint64_t> taken_{0};  // a bit for each of the own shards

  std::size_t number_ = kOwnShards;
  unsigned calls_ = 0;
};

}  // namespace nbdstack
