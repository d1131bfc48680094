#include "filters/cache/state/pressure.hpp"

#include <algorithm>

namespace nbdstack {
namespace {

Slot slots_for(const CacheSettings& settings) {
  constexpr Slot kMost = kNoSlot - 2;  // two values are taken by the lists
  if (settings.max_size_bytes == 0) return kMost;
  const std::uint64_t slots = settings.max_size_bytes / settings.block_size;
  return static_cast<Slot>(std::clamp<std::uint64_t>(slots, 1, kMost));
}

Slot percent_of(Slot slots, unsigned percent) {
  return static_cast<Slot>(std::uint64_t{slots} * percent / 100);
}

}  // namespace

Pressure::Pressure(const CacheSettings& settings)
    : max_slots_(slots_for(settings)),
      high_slots_(percent_of(max_slots_, settings.high_threshold_percent)),
      low_slots_(percent_of(max_slots_, settings.low_threshold_percent)),
      full_retry_(settings.full_retry) {}

std::size_t Pressure::blocks_to_free(std::size_t occupied_slots, std::size_t zero_ranges) {
  if (occupied_slots > high_slots_) making_room_ = true;
  if (occupied_slots <= low_slots_) making_room_ = false;
  pressed_ = making_room_ || zero_ranges > kMostZeroRanges;
  return making_room_ ? occupied_slots - low_slots_ : 0;
}

bool Pressure::disk_is_full(TimePoint now) {
  const bool is_news = is_roomy();
  growing_until_.reset();
  full_until_ = now + full_retry_;
  tried_slot_ = kNoSlot;
  return is_news;
}

bool Pressure::is_time_to_try(TimePoint now) {
  if (!full_until_ || now < *full_until_) return false;
  full_until_ = now + full_retry_;
  return true;
}

Pressure::Stored Pressure::stored(Slot slot, TimePoint now) {
  if (slot == tried_slot_) {
    tried_slot_ = kNoSlot;
    full_until_.reset();
    growing_until_ = now + kGrowing_retries * full_retry_;
    return Stored::grows_again;
  }
  if (!growing_until_ || now < *growing_until_) return Stored::nothing_new;
  growing_until_.reset();
  return Stored::has_room_again;
}

}  // namespace nbdstack
