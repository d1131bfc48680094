// Queues of slots that share their links.
//
// A policy has several queues (or several policies have one each), and a slot is in one of them at
// a time. So they share one array of links, and a slot costs eight bytes for any number of queues,
// and one byte for a policy's notes. (SlotList has links of its own, and a slot can be in any
// number of those.)
//
// No locking: the owner of the policy holds its mutex around every call.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>

#include "filters/cache/slots/chunked_vector.hpp"
#include "filters/cache/slots/slot_list.hpp"

namespace nbdstack {

// The policies' data of each slot. Grows with the highest slot seen, and never shrinks.
class SlotTable {
 public:
  // Makes room for `slot`, or throws std::bad_alloc and changes nothing. The functions below
  // require that room.
  void make_room_for(Slot slot) {
    if (slot < marks_.size()) return;
    links_.grow_to(std::size_t{slot} + 1);
    marks_.grow_to(std::size_t{slot} + 1);
  }

  // The policies' notes, initially 0. A policy changes only its own bits.
  [[nodiscard]] std::uint8_t mark(Slot slot) const { return marks_[slot]; }
  void set_mark(Slot slot, std::uint8_t mark) { marks_[slot] = mark; }

 private:
  friend class SlotQueue;
  struct Links {
    Slot newer = kNoSlot;
    Slot older = kNoSlot;
  };

  ChunkedVector<Links> links_;
  ChunkedVector<std::uint8_t> marks_;
};

// One queue: slots from the oldest to the newest. The table outlives it.
class SlotQueue {
 public:
  explicit SlotQueue(SlotTable& table) : table_(table) {}

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] Slot oldest() const { return oldest_; }  // kNoSlot when empty

  // Returns the oldest slot that satisfies `wanted` among the `most` oldest ones, or kNoSlot.
  template <typename Predicate>
  [[nodiscard]] Slot oldest_that(const Predicate& wanted, std::size_t most) const {
    Slot slot = oldest_;
    for (std::size_t asked = 0; slot != kNoSlot && asked < most; ++asked) {
      if (wanted(slot)) return slot;
      slot = newer(slot);
    }
    return kNoSlot;
  }
  // Visits slots until `visit` returns false. Returns whether it never did.
  template <typename Visitor>
  bool visit_from_oldest(const Visitor& visit) const {
    for (Slot slot = oldest_; slot != kNoSlot; slot = newer(slot)) {
      if (!visit(slot)) return false;
    }
    return true;
  }

  // `slot` is in no queue of the table, and becomes the newest of this one.
  void push(Slot slot) {
    table_.links_[slot] = {.newer = kNoSlot, .older = newest_};
    (newest_ == kNoSlot ? oldest_ : table_.links_[newest_].newer) = slot;
    newest_ = slot;
    ++size_;
  }

  // `slot` is in this queue.
  void remove(Slot slot) {
    assert(size_ != 0);
    const auto [newer, older] = table_.links_[slot];
    (newer == kNoSlot ? newest_ : table_.links_[newer].older) = older;
    (older == kNoSlot ? oldest_ : table_.links_[older].newer) = newer;
    --size_;
  }

  void renew(Slot slot) {
    if (slot == newest_) return;
    remove(slot);
    push(slot);
  }

 private:
  [[nodiscard]] Slot newer(Slot slot) const { return table_.links_[slot].newer; }

  SlotTable& table_;
  Slot oldest_ = kNoSlot;
  Slot newest_ = kNoSlot;
  std::size_t size_ = 0;
};

}  // namespace nbdstack
