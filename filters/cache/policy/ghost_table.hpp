// Ghosts: blocks that were evicted lately. One that comes back has been evicted too early.
//
// A ghost takes four bytes: a 32-bit fingerprint of the block's number, in a bucket of 16, which is
// a cache line. A bucket is a queue, newest first, and forgets its oldest when another one comes;
// the hash spreads ghosts evenly, so the whole table remembers about the last capacity() ones. (The
// table of fingerprints is that of S3-FIFO, section 4.2 of the paper in s3_fifo_policy.hpp; queues
// instead of time stamps halve it.)
//
// Another block may have the same fingerprint: with g ghosts that happens in one lookup of 2^32 /
// g, and misleads a policy about one block only.
//
// The low bits of a fingerprint are the number of its bucket, so doubling the table moves
// fingerprints without the blocks' numbers, and keeps the order in every bucket.
//
// No locking. Nothing throws: if there is no memory to grow, the table keeps its size.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/block/range.hpp"

namespace nbdstack {

class GhostTable {
 public:
  // Doubles the table while it stays within `ghosts`, but to 16 at least. Never shrinks it.
  void grow_to(std::size_t ghosts) noexcept;
  // Nothing is remembered before the first grow_to().
  void remember(BlockNumber block) noexcept;
  // Returns whether the block is remembered, and forgets it.
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
