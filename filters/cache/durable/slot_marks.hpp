// What the durable store remembers of every slot: 8 bytes, two masks of 2 bytes each where a block
// has up to 16 pages (else of 8), and two bits.
#pragma once

#include <cstdint>

#include "filters/cache/chunked_vector.hpp"
#include "filters/cache/page_mask.hpp"
#include "filters/cache/slot_list.hpp"

namespace nbdstack {

class SlotMarks {
 public:
  explicit SlotMarks(unsigned pages_per_block) : narrow_(pages_per_block <= 16) {}

  void grow_to(std::size_t slots) {
    checksums_.grow_to(slots);
    bits_.grow_to(slots / kSlotsAByte + 1);
    if (narrow_) {
      narrow_masks_.grow_to(slots);
    } else {
      wide_masks_.grow_to(slots);
    }
  }

  [[nodiscard]] std::uint64_t checksum(Slot slot) const {
    return slot < checksums_.size() ? checksums_[slot] : 0;
  }
  [[nodiscard]] PageMask copies(Slot slot) const { return masks(slot).copies; }
  [[nodiscard]] PageMask dirty(Slot slot) const { return masks(slot).dirty; }
  // The slot belongs to a block.
  [[nodiscard]] bool in_use(Slot slot) const { return bit(slot, 0); }
  // The committed index may call pages of the slot dirty.
  [[nodiscard]] bool held(Slot slot) const { return bit(slot, 1); }

  void set_checksum(Slot slot, std::uint64_t checksum) {
    reach(slot);
    checksums_[slot] = checksum;
  }
  void set_copies(Slot slot, PageMask copies) { set_masks(slot, {copies, dirty(slot)}); }
  void set_dirty(Slot slot, PageMask dirty) { set_masks(slot, {copies(slot), dirty}); }
  void set_in_use(Slot slot, bool value) { set_bit(slot, 0, value); }
  void set_held(Slot slot, bool value) { set_bit(slot, 1, value); }

 private:
  static constexpr std::size_t kSlotsAByte = 4;
  template <typename Word>
  struct Masks {
    Word copies = 0;
    Word dirty = 0;
  };

  void reach(Slot slot) {
    if (slot >= checksums_.size()) grow_to(slot + std::size_t{1});
  }
  [[nodiscard]] Masks<PageMask> masks(Slot slot) const {
    if (slot >= checksums_.size()) return {};
    if (!narrow_) return wide_masks_[slot];
    return {narrow_masks_[slot].copies, narrow_masks_[slot].dirty};
  }
  void set_masks(Slot slot, const Masks<PageMask>& masks) {
    reach(slot);
    if (narrow_) {
      narrow_masks_[slot] = {static_cast<std::uint16_t>(masks.copies),
                             static_cast<std::uint16_t>(masks.dirty)};
    } else {
      wide_masks_[slot] = masks;
    }
  }
  [[nodiscard]] static unsigned shift(Slot slot, unsigned which) {
    return static_cast<unsigned>(slot % kSlotsAByte) * 2 + which;
  }
  [[nodiscard]] bool bit(Slot slot, unsigned which) const {
    return slot < checksums_.size() &&
           ((bits_[slot / kSlotsAByte] >> shift(slot, which)) & 1U) != 0;
  }
  void set_bit(Slot slot, unsigned which, bool value) {
    reach(slot);
    std::uint8_t& byte = bits_[slot / kSlotsAByte];
    const unsigned mask = 1U << shift(slot, which);
    byte = static_cast<std::uint8_t>(value ? byte | mask : byte & ~mask);
  }

  bool narrow_;
  ChunkedVector<std::uint64_t> checksums_;
  ChunkedVector<Masks<std::uint16_t>> narrow_masks_;
  ChunkedVector<Masks<PageMask>> wide_masks_;
  ChunkedVector<std::uint8_t> bits_;
};

}  // namespace nbdstack
