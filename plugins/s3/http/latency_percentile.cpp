#include "plugins/s3/http/latency_percentile.hpp"

#include <algorithm>
#include <bit>

namespace nbdstack {

using std::chrono::microseconds;

// Below 2^kPartBits each microsecond has its bucket. From there on, the highest bits say which: the
// position of the first one is the octave, those after it the part.
std::size_t LatencyPercentile::bucket_of(std::uint64_t us) {
  constexpr std::uint64_t kParts = std::uint64_t{1} << kPartBits;
  if (us < kParts) return us;
  const auto octave = static_cast<unsigned>(std::bit_width(us)) - kPartBits;
  const std::size_t part = (us >> (octave - 1)) - kParts;
  return std::min<std::size_t>((octave << kPartBits) + part, kBuckets - 1);
}

// The first value that the bucket does not hold.
std::uint64_t LatencyPercentile::end_of(std::size_t bucket) {
  constexpr std::uint64_t kParts = std::uint64_t{1} << kPartBits;
  if (bucket < kParts) return bucket + 1;
  const std::size_t octave = bucket >> kPartBits;
  const std::uint64_t part = bucket & (kParts - 1);
  return (kParts + part + 1) << (octave - 1);
}

void LatencyPercentile::add(Duration latency) {
  if (current_.samples == kWindow) {
    previous_ = current_;
    current_ = Window{};
  }
  const auto us = std::chrono::duration_cast<microseconds>(std::max(latency, Duration::zero()));
  ++current_.counts.at(bucket_of(static_cast<std::uint64_t>(us.count())));
  ++current_.samples;
}

std::optional<Duration> LatencyPercentile::at(unsigned percent) const {
  const std::uint64_t samples = std::uint64_t{current_.samples} + previous_.samples;
  if (samples < kSamples_min) return std::nullopt;
  const std::uint64_t wanted = (samples * percent + 99) / 100;
  std::uint64_t seen = 0;
  std::size_t bucket = 0;
  for (; bucket < kBuckets - 1; ++bucket) {
    seen += current_.counts.at(bucket) + previous_.counts.at(bucket);
    if (seen >= wanted) break;
  }
  return microseconds(end_of(bucket));
}

}  // namespace nbdstack
