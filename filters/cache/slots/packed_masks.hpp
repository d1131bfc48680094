// Masks of pages for each slot, `kMasks` of them: of 2 bytes if a block has up to 16 pages, else of
// 8.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "filters/cache/slots/chunked_vector.hpp"
#include "filters/cache/slots/page_mask.hpp"
#include "filters/cache/slots/slot_list.hpp"

namespace nbdstack {

template <std::size_t kMasks>
class PackedMasks {
 public:
  using Masks = std::array<PageMask, kMasks>;

  explicit PackedMasks(unsigned pages_per_block) : is_narrow_(fits_narrow_mask(pages_per_block)) {}

  void grow_to(std::size_t slots) {
    if (is_narrow_) {
      narrow_.grow_to(slots);
    } else {
      wide_.grow_to(slots);
    }
  }
  [[nodiscard]] Masks operator[](Slot slot) const {
    if (!is_narrow_) return wide_[slot];
    Masks masks;
    const auto& packed = narrow_[slot];
    for (std::size_t i = 0; i < kMasks; ++i) masks[i] = packed[i];
    return masks;
  }
  void set(Slot slot, const Masks& masks) {
    if (!is_narrow_) {
      wide_[slot] = masks;
      return;
    }
    auto& packed = narrow_[slot];
    for (std::size_t i = 0; i < kMasks; ++i) packed[i] = static_cast<NarrowMask>(masks[i]);
  }

 private:
  bool is_narrow_;
  ChunkedVector<std::array<NarrowMask, kMasks>> narrow_;
  ChunkedVector<Masks> wide_;
};

}  // namespace nbdstack
