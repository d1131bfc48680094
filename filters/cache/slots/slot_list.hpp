// Doubly linked lists over slot numbers.
//
// A slot is a small number, so its links are in an array beside the table: eight bytes a slot and a
// list, no allocation to link or unlink, and a slot's own links show whether it is in the list. The
// cache has two: least recently used slots, and unwritten ones. The newest entries are in front.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "filters/cache/slots/chunked_vector.hpp"

namespace nbdstack {

using Slot = std::uint32_t;
inline constexpr Slot kNoSlot = std::numeric_limits<Slot>::max();

class SlotList {
 public:
  [[nodiscard]] bool contains(Slot slot) const {
    return slot < links_.size() && links_[slot].linked();
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] Slot back() const { return back_; }
  // Returns the next newer one; kNoSlot at the front.
  [[nodiscard]] Slot newer(Slot slot) const {
    return links_[slot].newer == kFront ? kNoSlot : links_[slot].newer;
  }

  // push_front() of smaller slots allocates nothing.
  void reach(std::size_t slots) { links_.grow_to(slots); }

  void push_front(Slot slot) {
    if (slot >= links_.size()) links_.grow_to(slot + 1);
    links_[slot] = {.newer = kFront, .older = front_};
    if (front_ != kNoSlot) links_[front_].newer = slot;
    if (back_ == kNoSlot) back_ = slot;
    front_ = slot;
    ++size_;
  }

  // Does nothing if the slot is not in the list.
  void remove(Slot slot) {
    if (!contains(slot)) return;
    const Links links = links_[slot];
    if (links.newer == kFront) {
      front_ = links.older;
    } else {
      links_[links.newer].older = links.older;
    }
    if (links.older == kNoSlot) {
      back_ = links.newer == kFront ? kNoSlot : links.newer;
    } else {
      links_[links.older].newer = links.newer;
    }
    links_[slot] = {};
    --size_;
  }

  void move_to_front(Slot slot) {
    remove(slot);
    push_front(slot);
  }

 private:
  // `newer` alone shows whether a slot is linked: kFront for the newest, kNoSlot for one outside
  // the list.
  static constexpr Slot kFront = kNoSlot - 1;
  struct Links {
    Slot newer = kNoSlot;
    Slot older = kNoSlot;
    [[nodiscard]] bool linked() const { return newer != kNoSlot; }
  };

  ChunkedVector<Links> links_;
  Slot front_ = kNoSlot;
  Slot back_ = kNoSlot;
  std::size_t size_ = 0;
};

}  // namespace nbdstack
