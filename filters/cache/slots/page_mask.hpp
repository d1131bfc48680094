// Pages: the parts of a block that the cache distinguishes.
//
// A page is 4 KiB, or a 64th of a block if blocks are larger than 256 KiB, so that one word has a
// bit for every page of a block. Bit n stands for page n. The last page of the last block of a disk
// may be short: it ends with the disk.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace nbdstack {

using PageMask = std::uint64_t;
// Replaces a PageMask in memory and in files if a block has few pages.
using NarrowMask = std::uint16_t;
constexpr bool fits_narrow_mask(unsigned pages_per_block) {
  return pages_per_block <= 16;
}

// Returns the pages first ... first + count - 1.
constexpr PageMask page_run(unsigned first, unsigned count) {
  const PageMask ones = count >= 64 ? ~PageMask{0} : (PageMask{1} << count) - 1;
  return count == 0 ? 0 : ones << first;
}

// Calls fn(first, count) for every run of set bits, in ascending order.
template <typename Fn>
void for_each_page_run(PageMask mask, Fn&& fn) {
  while (mask != 0) {
    const auto first = static_cast<unsigned>(std::countr_zero(mask));
    const auto count = static_cast<unsigned>(std::countr_one(mask >> first));
    fn(first, count);
    mask &= ~page_run(first, count);
  }
}

constexpr bool has_page(PageMask mask, unsigned page) {
  return ((mask >> page) & 1U) != 0;
}

// Calls fn(page, position) for every set bit, in ascending order; positions count from 0.
template <typename Fn>
void for_each_page(PageMask mask, Fn&& fn) {
  for (std::size_t position = 0; mask != 0; mask &= mask - 1) {
    fn(static_cast<unsigned>(std::countr_zero(mask)), position++);
  }
}

class PageGeometry {
 public:
  static constexpr std::uint32_t kSmallestPage_bytes = 4096;
  static constexpr std::uint32_t kMostPages = 64;

  // block_size is a power of two, at least kSmallestPage_bytes.
  explicit constexpr PageGeometry(std::uint32_t block_size)
      : page_size_(std::max(kSmallestPage_bytes, block_size / kMostPages)),
        shift_(std::countr_zero(page_size_)),
        pages_per_block_(block_size / page_size_) {}

  [[nodiscard]] constexpr std::uint32_t page_size() const { return page_size_; }
  [[nodiscard]] constexpr unsigned pages_per_block() const { return pages_per_block_; }
  [[nodiscard]] constexpr unsigned page_at(std::uint32_t offset_in_block) const {
    return offset_in_block >> shift_;
  }
  [[nodiscard]] constexpr std::uint32_t offset_of(unsigned page) const { return page << shift_; }

  // Returns all pages of a block of `length` bytes: fewer than pages_per_block() at the disk's end.
  [[nodiscard]] constexpr PageMask all(std::uint32_t length) const {
    return page_run(0, (length + page_size_ - 1) >> shift_);
  }
  // Calls fn(offset, length) for every run of pages in the mask, in ascending order, in a block of
  // `block_length` bytes. Pages behind its end are left out.
  template <typename Fn>
  void for_each_run(PageMask mask, std::uint64_t block_length, Fn&& fn) const {
    for_each_page_run(mask, [&](unsigned first, unsigned count) {
      const std::uint64_t begin = offset_of(first);
      if (begin >= block_length) return;
      const std::uint64_t end = std::min(block_length, begin + std::uint64_t{count} * page_size_);
      fn(static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end - begin));
    });
  }

  // Cuts [offset, offset + length) of a block where pages of `mask` begin and end, and calls
  // fn(offset, length, whether these pages are in the mask) for each part in order.
  template <typename Fn>
  void for_each_part(std::uint32_t offset, std::uint32_t length, PageMask mask, Fn&& fn) const {
    const std::uint32_t end = offset + length;
    while (offset < end) {
      const unsigned page = page_at(offset);
      const bool inside = ((mask >> page) & 1U) != 0;
      const PageMask rest = (inside ? mask : ~mask) >> page;
      const auto same = static_cast<unsigned>(std::countr_one(rest));
      const std::uint64_t part_end = std::uint64_t{page_size_} * (page + same);
      const auto next = static_cast<std::uint32_t>(std::min<std::uint64_t>(end, part_end));
      fn(offset, next - offset, inside);
      offset = next;
    }
  }

  // Returns the pages that [offset, offset + length) touches; length is not 0.
  [[nodiscard]] constexpr PageMask touched(std::uint32_t offset, std::uint32_t length) const {
    const unsigned first = page_at(offset);
    return page_run(first, page_at(offset + length - 1) - first + 1);
  }
  // Returns the pages that [offset, offset + length) covers wholly in a block of that length.
  [[nodiscard]] constexpr PageMask covered(std::uint32_t offset, std::uint32_t length,
                                           std::uint32_t block_length) const {
    const std::uint32_t end = offset + length;
    const unsigned first = (offset + page_size_ - 1) >> shift_;
    const unsigned last = end == block_length ? (end + page_size_ - 1) >> shift_ : end >> shift_;
    return first < last ? page_run(first, last - first) : 0;
  }

 private:
  std::uint32_t page_size_;
  int shift_;
  unsigned pages_per_block_;
};

// The state of the pages of one block.
//
//   valid dirty zero   the page
//     0     0    -     is not cached
//     1     0    0     is stored in the slot, and below
//     1     0    1     is zeros, here and below; no storage
//     1     1    0     is stored in the slot, and has to be written below
//     1     1    1     is zeros without storage, and has to be zeroed below
//     0     1    -     was dirty and its content is damaged: reading it is an error until it is
//                      written again
struct Pages {
  PageMask valid = 0;
  PageMask dirty = 0;
  PageMask zero = 0;
  PageMask hole = 0;  // pages to be zeroed that may be deallocated instead

  [[nodiscard]] PageMask stored() const { return valid & ~zero; }     // content lies in the slot
  [[nodiscard]] PageMask unwritten() const { return valid & dirty; }  // to be written or zeroed
  [[nodiscard]] PageMask damaged() const { return dirty & ~valid; }

  friend bool operator==(const Pages&, const Pages&) = default;
};

}  // namespace nbdstack
