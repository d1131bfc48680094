#include "filters/cache/policy/ghost_table.hpp"

#include <algorithm>
#include <functional>
#include <new>
#include <utility>

namespace nbdstack {

// The high half: the low bits of this hash choose the buckets of the index of cached blocks.
std::uint32_t GhostTable::fingerprint_of(BlockNumber block) {
  const auto fingerprint = static_cast<std::uint32_t>(std::hash<BlockNumber>()(block) >> 32U);
  return fingerprint == 0 ? 1 : fingerprint;
}

void GhostTable::grow_to(std::size_t ghosts) noexcept {
  try {
    if (buckets_.empty()) buckets_.resize(1);
    while (capacity() <= ghosts / 2) double_size();
  } catch (const std::bad_alloc&) {
    return;  // a shorter memory suffices
  }
}

void GhostTable::double_size() {
  const std::size_t half = buckets_.size();
  std::vector<Bucket> grown(2 * half);
  for (std::size_t number = 0; number < half; ++number) {
    std::array<std::size_t, 2> filled{};
    for (const std::uint32_t fingerprint : buckets_[number]) {
      if (fingerprint == 0) break;
      const std::size_t upper = (fingerprint & half) == 0 ? 0 : 1;
      grown[number + upper * half][filled[upper]++] = fingerprint;
    }
  }
  buckets_ = std::move(grown);
}

void GhostTable::remember(BlockNumber block) noexcept {
  if (buckets_.empty()) return;
  const std::uint32_t fingerprint = fingerprint_of(block);
  Bucket& bucket = bucket_of(fingerprint);
  std::copy_backward(bucket.begin(), bucket.end() - 1, bucket.end());
  bucket.front() = fingerprint;
}

bool GhostTable::take(BlockNumber block) noexcept {
  if (buckets_.empty()) return false;
  const std::uint32_t fingerprint = fingerprint_of(block);
  Bucket& bucket = bucket_of(fingerprint);
  const auto found = std::find(bucket.begin(), bucket.end(), fingerprint);
  if (found == bucket.end()) return false;
  std::copy(found + 1, bucket.end(), found);
  bucket.back() = 0;
  return true;
}

}  // namespace nbdstack
