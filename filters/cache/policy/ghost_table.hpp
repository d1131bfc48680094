// Ghosts: blocks that were evicted lately. One that comes back has been evicted too early.
//
// Four bytes a ghost: a 32-bit fingerprint of the block's number, in buckets of 16, a cache line's
// worth. A bucket is a queue, newest first, and forgets its oldest when another one comes; the hash
// spreads ghosts evenly, so the table as a whole remembers about the last capacity() ones.
// (The table of fingerprints is that of S3-FIFO, section 4.2 of the paper named in
// s3_fifo_policy.hpp; queues in place of time stamps halve it.)
//
// A fingerprint can be a stranger's: with g ghosts that happens to one lookup in 2^32 / g, and
// misleads a policy about one block, no more.
//
// The low bits of a fingerprint are the number of its bucket, so doubling the table moves
// fingerprints without knowing the blocks, and keeps the order in every bucket.
//
// No locking. Nothing here throws: without memory to grow the table keeps its size.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/block/range.hpp"

namespace nbdstack {

class GhostTable {
 public:
  // Doubles the table while it stays within `ghosts`, but makes it 16 at least. Never shrinks it.
  void grow_to(std::size_t ghosts) noexcept;
  // Nothing is remembered before the first grow_to().
  void remember(BlockNumber block) noexcept;
  // Whether the block is remembered; it is not any more afterwards.
  bool take(BlockNumber block) noexcept;

  [[nodiscard]] std::size_t capacity() const { return buckets_.size() * kWays; }

 private:
  static constexpr std::size_t kWays = 16;
  // Newest first; 0 is no ghost. Ghosts stand without gaps in front of the zeros.
  using Bucket = std::array<std::uint32_t, kWays>;

  static std::uint32_t fingerprint_of(BlockNumber block);
  Bucket& bucket_of(std::uint32_t fingerprint) {
    return buckets_[fingerprint & (buckets_.size() - 1)];
  }
  void double_size();

  std::vector<Bucket> buckets_;  // none, or a power of two
};

}  // namespace nbdstack
