// The durable store's memory of every slot: 8 bytes, two masks of 2 bytes each if a block has up to
// 16 pages (else of 8), and four bits.
#pragma once

#include <cstdint>

#include "filters/cache/slots/chunked_vector.hpp"
#include "filters/cache/slots/packed_masks.hpp"
#include "filters/cache/slots/page_mask.hpp"
#include "filters/cache/slots/slot_list.hpp"

namespace nbdstack {

// The state of a slot, as reported by the engine: the table in slot_store.hpp.
enum class SlotUse : std::uint8_t { free, taken, named, dropped };

class SlotMarks {
 public:
  explicit SlotMarks(unsigned pages_per_block) : masks_(pages_per_block) {}

  // Checksums grow last, because their number guards the others, and each may run out of memory.
  void grow_to(std::size_t slots) {
    bits_.grow_to(slots / kSlotsAByte + 1);
    masks_.grow_to(slots);
    checksums_.grow_to(slots);
  }

  [[nodiscard]] std::uint64_t checksum(Slot slot) const {
    return slot < checksums_.size() ? checksums_[slot] : 0;
  }
  [[nodiscard]] PageMask copies(Slot slot) const { return masks(slot)[0]; }
  [[nodiscard]] PageMask dirty(Slot slot) const { return masks(slot)[1]; }
  [[nodiscard]] SlotUse use(Slot slot) const { return static_cast<SlotUse>(bits(slot) & kUseMask); }
  // Returns whether the slot belongs to a block according to the current index.
  [[nodiscard]] bool is_named(Slot slot) const { return use(slot) == SlotUse::named; }
  // Returns whether the committed index may call pages of the slot dirty.
  [[nodiscard]] bool held(Slot slot) const { return (bits(slot) & kHeldMask) != 0; }

  void set_checksum(Slot slot, std::uint64_t checksum) {
    reach(slot);
    checksums_[slot] = checksum;
  }
  void set_copies(Slot slot, PageMask copies) { set_masks(slot, {copies, dirty(slot)}); }
  void set_dirty(Slot slot, PageMask dirty) {
    reach(slot);
    if (this->dirty(slot) != 0) --dirty_slots_;
    set_masks(slot, {copies(slot), dirty});
    if (dirty != 0) ++dirty_slots_;
  }
  // Returns the number of slots with dirty pages.
  [[nodiscard]] std::size_t dirty_slots() const { return dirty_slots_; }
  void set_use(Slot slot, SlotUse use) { set_bits(slot, kUseMask, static_cast<unsigned>(use)); }
  void set_held(Slot slot, bool value) { set_bits(slot, kHeldMask, value ? kHeldMask : 0U); }

 private:
  static constexpr std::size_t kSlotsAByte = 2;
  static constexpr unsigned kBitsASlot = 4;
  static constexpr unsigned kUseMask = 0b0011;
  static constexpr unsigned kHeldMask = 0b0100;
  using Masks = PackedMasks<2>::Masks;  // copies, dirty

  void reach(Slot slot) {
    if (slot >= checksums_.size()) grow_to(slot + std::size_t{1});
  }
  [[nodiscard]] Masks masks(Slot slot) const {
    return slot < checksums_.size() ? masks_[slot] : Masks{};
  }
  void set_masks(Slot slot, const Masks& masks) {
    reach(slot);
    masks_.set(slot, masks);
  }
  [[nodiscard]] static unsigned shift(Slot slot) {
    return static_cast<unsigned>(slot % kSlotsAByte) * kBitsASlot;
  }
  [[nodiscard]] unsigned bits(Slot slot) const {
    return slot < checksums_.size() ? unsigned{bits_[slot / kSlotsAByte]} >> shift(slot) : 0;
  }
  void set_bits(Slot slot, unsigned mask, unsigned value) {
    reach(slot);
    std::uint8_t& byte = bits_[slot / kSlotsAByte];
    byte = static_cast<std::uint8_t>((byte & ~(mask << shift(slot))) | (value << shift(slot)));
  }

  std::size_t dirty_slots_ = 0;
  ChunkedVector<std::uint64_t> checksums_;
  PackedMasks<2> masks_;
  ChunkedVector<std::uint8_t> bits_;
};

}  // namespace nbdstack
