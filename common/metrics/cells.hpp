// Cheap handles on cells of a MetricsRegistry, by which a layer counts while it works.
//
// A default-constructed handle counts nothing, and costs one comparison: so an engine always holds
// handles, whether or not metrics are on. A handle is copied freely, may be used by any thread, and
// is valid as long as its registry.
//
// An addition costs about 2 ns (thread_shard.hpp).
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "common/metrics/thread_shard.hpp"

namespace nbdstack {

class Counter {
 public:
  Counter() = default;
  explicit Counter(MetricCell* cell) : cell_(cell) {}

  void add(std::uint64_t count = 1) const noexcept {
    if (cell_ == nullptr) return;
    ThreadShard::of_this_thread().add(cell_, count);
  }

 private:
  MetricCell* cell_ = nullptr;
};

// A number that rises and falls.
class Gauge {
 public:
  Gauge() = default;
  explicit Gauge(MetricCell* cell) : cell_(cell) {}

  // The cells of some shards may be below zero, which is why the sum is taken for a signed number.
  void add(std::int64_t change) const noexcept {
    if (cell_ == nullptr) return;
    ThreadShard::of_this_thread().add(cell_, static_cast<std::uint64_t>(change));
  }

 private:
  MetricCell* cell_ = nullptr;
};

// Durations in buckets, each twice as wide as the one before. The first ends at 2,048 ns, the last
// but one at 69 s, and the last has no end.
class Histogram {
 public:
  static constexpr unsigned kSmallestBits = 11;  // 2^11 ns is the end of the first bucket
  static constexpr std::size_t kBuckets = 27;
  static constexpr std::size_t kCells = kBuckets + 1;  // and the sum of all durations, in ns

  Histogram() = default;
  explicit Histogram(MetricCell* cells) : cells_(cells) {}

  [[nodiscard]] bool is_on() const { return cells_ != nullptr; }

  // A duration that is a bound itself belongs below it, as Prometheus' "le" says.
  static std::size_t bucket_of(std::uint64_t duration_ns) {
    const auto bits = static_cast<unsigned>(std::bit_width(duration_ns == 0 ? 0 : duration_ns - 1));
    return std::min<std::size_t>(bits <= kSmallestBits ? 0 : bits - kSmallestBits, kBuckets - 1);
  }
  static std::uint64_t end_of_bucket_ns(std::size_t bucket) {
    return 1ULL << (kSmallestBits + bucket);
  }

  void observe(std::chrono::nanoseconds duration) const noexcept {
    if (cells_ == nullptr) return;
    const auto duration_ns =
        static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0));
    const ThreadShard& shard = ThreadShard::of_this_thread();
    shard.add(cells_ + bucket_of(duration_ns), 1);
    shard.add(cells_ + kBuckets, duration_ns);
  }

 private:
  MetricCell* cells_ = nullptr;
};

}  // namespace nbdstack
