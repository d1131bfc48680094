// Externally synchronized, except for the flag of flag(): decides when a cache has to make room.
//
//  - Thresholds: above the high one blocks are freed, by requests and in the background, until the
//    low one is reached.
//  - Ranges of zeros: those beyond kMostZeroRanges are written back, so that a client that zeroes
//    every other block of a large disk does not fill the memory: they take about 1 MiB.
//  - Turns: one caller at a time writes back to make room; the others wait for its result.
//  - The cache's disk is full: slots are only reused, and from time to time one more slot is tried.
//    When it can be stored, the cache grows again as before.
//
//   state     slots                   next       by
//   roomy     are taken up to bound   full       disk_is_full(), which is news
//   full      are reused              trying     is_time_to_try(), every full_retry
//   trying    one more is taken       growing    stored() of that slot
//                                     full       disk_is_full()
//   growing   are taken up to bound   roomy      stored() of a slot after kGrowing_retries times
//                                                full_retry, which is news
//                                     full       disk_is_full()
//
// A growing cache may not have found room yet: if a commit fails on a full disk, clean blocks give
// their storage back. Without this state the log would alternate between "full" and "not full".
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/invariant.hpp"
#include "common/sync/clock.hpp"
#include "filters/cache/slots/slot_list.hpp"
#include "filters/cache/state/settings.hpp"

namespace nbdstack {

class Pressure {
 public:
  static constexpr std::size_t kMostZeroRanges = 16384;

  explicit Pressure(const CacheSettings& settings);

  // Returns the number of slots that the cache may have.
  [[nodiscard]] Slot max_slots() const { return max_slots_; }

  // Returns whether blocks_to_free() has to be called. May be read without synchronization.
  [[nodiscard]] const std::atomic<bool>& flag() const { return pressed_; }
  void note_occupied(std::size_t slots) {
    if (slots > high_slots_) pressed_ = true;
  }
  void note_zero_ranges(std::size_t ranges) {
    if (ranges > kMostZeroRanges) pressed_ = true;
  }
  [[nodiscard]] std::size_t blocks_to_free(std::size_t occupied_slots, std::size_t zero_ranges);

  [[nodiscard]] bool is_turn_taken() const { return turn_taken_; }
  void take_turn() {
    INVARIANT(!turn_taken_);
    turn_taken_ = true;
  }
  void end_turn() {
    INVARIANT(turn_taken_);
    turn_taken_ = false;
  }

  static constexpr int kGrowing_retries = 10;
  enum class Stored : std::uint8_t { nothing_new, grows_again, has_room_again };

  // Returns whether that is news.
  bool disk_is_full(TimePoint now);
  [[nodiscard]] bool is_disk_full() const { return full_until_.has_value(); }
  // Returns whether to try one more slot. Called only while the disk is full.
  [[nodiscard]] bool is_time_to_try(TimePoint now);
  void trying(Slot slot) { tried_slot_ = slot; }
  [[nodiscard]] bool is_roomy() const { return !full_until_ && !growing_until_; }
  // The slot's storage has accepted a write.
  [[nodiscard]] Stored stored(Slot slot, TimePoint now);

 private:
  const Slot max_slots_;
  const Slot high_slots_;
  const Slot low_slots_;
  const Duration full_retry_;
  std::atomic<bool> pressed_ = false;
  bool making_room_ = false;  // between the high threshold and the low one
  bool turn_taken_ = false;
  std::optional<TimePoint> full_until_;  // when one more slot is tried
  Slot tried_slot_ = kNoSlot;            // shows whether the cache may grow
  std::optional<TimePoint> growing_until_;
};

}  // namespace nbdstack
