// The 99th percentile (or any other) of recent times, in constant memory.
//
// A histogram with logarithmic buckets, each power of two divided into eight equal parts, as in
// HdrHistogram (G. Tene, hdrhistogram.org): a percentile is at most 12.5 % too high and never too
// low. "Recent" are the last kWindow to 2 * kWindow samples: one window fills while the one before
// still counts, so that what a service was like an hour ago is forgotten.
//
// Not thread-safe: its owner's lock protects it (transfer_places.hpp).
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/sync/clock.hpp"

namespace nbdstack {

class LatencyPercentile {
 public:
  static constexpr std::uint32_t kWindow = 1024;     // samples
  static constexpr std::uint32_t kSamples_min = 64;  // fewer tell nothing

  void add(Duration latency);

  // Returns the time within which `percent` of the recent requests were done, rounded up to its
  // bucket's end, or nothing with fewer than kSamples_min.
  [[nodiscard]] std::optional<Duration> at(unsigned percent) const;

 private:
  static constexpr unsigned kPartBits = 3;
  static constexpr unsigned kOctaves =
      26;  // of microseconds: the last bucket holds 8 minutes and more
  static constexpr std::size_t kBuckets = (kOctaves + 1) << kPartBits;

  struct Window {
    std::array<std::uint32_t, kBuckets> counts{};
    std::uint32_t samples = 0;
  };

  static std::size_t bucket_of(std::uint64_t us);
  static std::uint64_t end_of(std::size_t bucket);

  Window current_;
  Window previous_;
};

}  // namespace nbdstack
