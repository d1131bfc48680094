// Half-open ranges of bytes, and the arithmetic of fixed-size blocks over them.
#pragma once

#include <algorithm>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace nbdstack {

// [offset, offset + length) in bytes of a virtual disk.
struct Range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  [[nodiscard]] std::uint64_t end() const { return offset + length; }
  [[nodiscard]] bool empty() const { return length == 0; }
  [[nodiscard]] bool overlaps(const Range& other) const {
    return offset < other.end() && other.offset < end();
  }
  [[nodiscard]] bool contains(const Range& other) const {
    return offset <= other.offset && other.end() <= end();
  }
  [[nodiscard]] Range intersection(const Range& other) const {
    const auto first = std::max(offset, other.offset);
    const auto last = std::min(end(), other.end());
    return first < last ? Range{first, last - first} : Range{first, 0};
  }
  friend bool operator==(const Range&, const Range&) = default;
};

// The number of a block: a type of its own, because a block number passed as a byte offset destroys
// data silently.
struct BlockNumber {
  std::uint64_t value = 0;

  friend auto operator<=>(const BlockNumber&, const BlockNumber&) = default;
  BlockNumber& operator++() {
    ++value;
    return *this;
  }
  [[nodiscard]] BlockNumber next() const { return {value + 1}; }
};

// The part of a request that falls into one block.
struct BlockPiece {
  BlockNumber block;
  std::uint32_t offset_in_block = 0;
  std::uint32_t length = 0;
  std::uint64_t offset_in_request = 0;
};

// Disks need not be a multiple of the block size: the last block may be short.
class BlockGeometry {
 public:
  // block_size is a power of two, at most 2 GiB.
  BlockGeometry(std::uint64_t size_bytes, std::uint32_t block_size)
      : size_bytes_(size_bytes), block_size_(block_size), shift_(std::countr_zero(block_size)) {}

  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] std::uint32_t block_size() const { return block_size_; }
  [[nodiscard]] std::uint64_t block_count() const {
    return (size_bytes_ >> shift_) + ((size_bytes_ & (block_size_ - 1)) != 0 ? 1 : 0);
  }
  [[nodiscard]] BlockNumber block_at(std::uint64_t offset) const { return {offset >> shift_}; }
  [[nodiscard]] std::uint64_t offset_of(BlockNumber block) const { return block.value << shift_; }
  [[nodiscard]] std::uint32_t length_of(BlockNumber block) const {
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(block_size_, size_bytes_ - offset_of(block)));
  }
  [[nodiscard]] Range range_of(BlockNumber block) const {
    return {offset_of(block), length_of(block)};
  }
  [[nodiscard]] bool is_whole(const BlockPiece& piece) const {
    return piece.offset_in_block == 0 && piece.length == length_of(piece.block);
  }

  // The pieces of `range`, block by block in order. `range` lies inside the disk.
  [[nodiscard]] std::vector<BlockPiece> split(const Range& range) const;

 private:
  std::uint64_t size_bytes_;
  std::uint32_t block_size_;
  int shift_;
};

inline std::vector<BlockPiece> BlockGeometry::split(const Range& range) const {
  std::vector<BlockPiece> pieces;
  pieces.reserve((range.length >> shift_) + 2);
  for (std::uint64_t done = 0; done < range.length;) {
    const std::uint64_t offset = range.offset + done;
    const BlockNumber block = block_at(offset);
    const auto in_block = static_cast<std::uint32_t>(offset - offset_of(block));
    const auto length = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(length_of(block) - in_block, range.length - done));
    pieces.push_back({block, in_block, length, done});
    done += length;
  }
  return pieces;
}

}  // namespace nbdstack

template <>
struct std::hash<nbdstack::BlockNumber> {
  // The finalizer of MurmurHash3: neighbouring blocks must not become neighbouring buckets of a
  // power-of-two table.
  std::size_t operator()(const nbdstack::BlockNumber& block) const noexcept {
    std::uint64_t h = block.value;
    h = (h ^ (h >> 33U)) * 0xff51afd7ed558ccdULL;
    h = (h ^ (h >> 33U)) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ (h >> 33U);
  }
};
