#include "filters/cache/policy/s3_fifo_policy.hpp"

#include <algorithm>

namespace nbdstack {
namespace {

constexpr std::size_t kShareOfSmall = 4;  // one in this many blocks
constexpr std::size_t kEpochsPerTurn = 64;
constexpr std::size_t kGhostsPerBlock = 2;

// A mark: bit 0 in main, bit 1 used, bits 2-6 the epoch modulo 32. A block that was unused for a
// multiple of 32 epochs seems to be of the present one, so its next use does not count; this is
// rare.
constexpr unsigned kInMain = 1;
constexpr unsigned kUsed = 2;
constexpr unsigned kEpochShift = 2;
constexpr unsigned kEpochs = 32;

}  // namespace

S3FifoPolicy::Note S3FifoPolicy::note(Slot slot) const {
  const unsigned mark = table_->mark(slot);
  return {.in_main = (mark & kInMain) != 0,
          .used = (mark & kUsed) != 0,
          .epoch = (mark >> kEpochShift) % kEpochs};
}

void S3FifoPolicy::set_note(Slot slot, const Note& note) {
  const unsigned others = table_->mark(slot) & ~unsigned{kMarkBits};
  const unsigned mine =
      (note.in_main ? kInMain : 0) | (note.used ? kUsed : 0) | note.epoch << kEpochShift;
  table_->set_mark(slot, static_cast<std::uint8_t>(others | mine));
}

void S3FifoPolicy::inserted(Slot slot, BlockNumber block) {
  table_->make_room_for(slot);
  if (++arrivals_in_epoch_ >= std::max<std::size_t>(1, size() / kEpochsPerTurn)) {
    arrivals_in_epoch_ = 0;
    epoch_ = (epoch_ + 1) % kEpochs;
  }
  const bool came_back = ghosts_.take(block);
  set_note(slot, {.in_main = came_back, .used = false, .epoch = epoch_});
  (came_back ? main_ : small_).push(slot);
}

void S3FifoPolicy::used(Slot slot) {
  const Note old = note(slot);
  if (old.epoch == epoch_) return;
  set_note(slot, {.in_main = true, .used = old.in_main, .epoch = epoch_});
  if (old.in_main) return;
  small_.remove(slot);
  main_.push(slot);
}

void S3FifoPolicy::removed(Slot slot, BlockNumber block, Removal why) {
  if (note(slot).in_main) {
    main_.remove(slot);
    return;
  }
  switch (why) {
    case Removal::evicted:
      ghosts_.grow_to(size() * kGhostsPerBlock);
      ghosts_.remember(block);
      break;
    case Removal::dropped:
      break;
  }
  small_.remove(slot);
}

Slot S3FifoPolicy::victim(const std::function<bool(Slot)>& may_go) {
  const auto unused = [&](Slot slot) { return !note(slot).used && may_go(slot); };
  const bool small_first = small_.size() >= size() / kShareOfSmall;
  Slot slot = kNoSlot;
  if (small_first) slot = small_.oldest_that(may_go, kMostLookedAt);
  if (slot != kNoSlot) return slot;
  send_noted_round();
  slot = main_.oldest_that(unused, kMostLookedAt);
  if (slot == kNoSlot) slot = main_.oldest_that(may_go, kMostLookedAt);
  if (slot == kNoSlot && !small_first) slot = small_.oldest_that(may_go, kMostLookedAt);
  return slot;
}

// Considers only those at the old end, up to the first that is not noted: behind one that is not
// noted but may not be evicted, the search skips the noted ones.
void S3FifoPolicy::send_noted_round() {
  for (std::size_t moved = 0; moved < kMostLookedAt && main_.size() != 0; ++moved) {
    const Slot slot = main_.oldest();
    Note marked = note(slot);
    if (!marked.used) return;
    marked.used = false;
    set_note(slot, marked);
    main_.renew(slot);
  }
}

void S3FifoPolicy::in_eviction_order(const std::function<bool(Slot)>& visit) const {
  if (small_.visit_from_oldest(visit)) main_.visit_from_oldest(visit);
}

}  // namespace nbdstack
