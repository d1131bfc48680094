// Decides which request is next: they wait for one of a bounded number of places, in two classes.
//
// Small requests (metadata, parts of blocks) must not wait behind many large ones:
//
//  - Each class is served in order of arrival. While both wait, they take turns, the small one
//    first after a pause.
//  - Large requests never use the last quarter of the places (at least one, if there are two) while
//    small ones could need it, that is, if one has arrived or left within kSmallMemory. Otherwise
//    large ones use all places.
//  - Small requests may use all places. They cannot starve large ones, because they take turns.
//  - Large requests may be fewer than there are places, down to what the line can use
//    (line_concurrency.hpp).
//
// Not thread-safe: its owner's lock protects it (transfer_places.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "common/invariant.hpp"
#include "common/sync/clock.hpp"

namespace nbdstack {

enum class TransferClass : std::uint8_t { small, large };

template <typename Waiting>
class TransferQueue {
 public:
  static constexpr Duration kSmallMemory = std::chrono::seconds(1);

  void push(TransferClass its_class, Waiting waiting, TimePoint now) {
    line(its_class).push_back(waiting);
    note(its_class, now);
  }

  // Returns nothing if no request waits, or there is no place; large ones use at most `large_most`.
  std::optional<Waiting> take(unsigned places, unsigned large_most, TimePoint now) {
    const std::optional<TransferClass> next = next_class(places, large_most, now);
    if (!next) return std::nullopt;
    Waiting taken = line(*next).front();
    line(*next).pop_front();
    occupy(*next);
    // Only a waiting class gets the turn.
    large_is_next_ = *next == TransferClass::small && !line(TransferClass::large).empty();
    return taken;
  }

  // Takes a place without waiting.
  void occupy(TransferClass its_class) { ++taken(its_class); }
  // Makes a place free again.
  void release(TransferClass its_class, TimePoint now) {
    INVARIANT(taken(its_class) > 0);
    --taken(its_class);
    note(its_class, now);
  }

  // Removes a waiting request that satisfies `is_wanted`, because it has given up.
  template <typename Predicate>
  std::optional<Waiting> remove(Predicate is_wanted) {
    for (auto& each : lines_) {
      const auto found = std::find_if(each.begin(), each.end(), is_wanted);
      if (found == each.end()) continue;
      Waiting removed = *found;
      each.erase(found);
      return removed;
    }
    return std::nullopt;
  }

  [[nodiscard]] bool is_empty() const { return lines_[0].empty() && lines_[1].empty(); }
  [[nodiscard]] unsigned in_flight() const { return taken_[0] + taken_[1]; }
  [[nodiscard]] unsigned in_flight(TransferClass its_class) const {
    return taken_.at(static_cast<std::size_t>(its_class));
  }
  [[nodiscard]] bool waits(TransferClass its_class) const {
    return !lines_.at(static_cast<std::size_t>(its_class)).empty();
  }
  // The first waiting request of a class, of which there must be one.
  [[nodiscard]] const Waiting& next(TransferClass its_class) const {
    return lines_.at(static_cast<std::size_t>(its_class)).front();
  }

 private:
  std::deque<Waiting>& line(TransferClass c) { return lines_.at(static_cast<std::size_t>(c)); }
  unsigned& taken(TransferClass c) { return taken_.at(static_cast<std::size_t>(c)); }

  void note(TransferClass its_class, TimePoint now) {
    if (its_class == TransferClass::small) small_seen_ = now;
  }

  std::optional<TransferClass> next_class(unsigned places, unsigned large_most, TimePoint now) {
    if (in_flight() >= places) return std::nullopt;
    const bool small_waits = !line(TransferClass::small).empty();
    const bool large_may =
        !line(TransferClass::large).empty() &&
        taken(TransferClass::large) < std::min(large_most, places_for_large(places, now));
    if (small_waits && !(large_may && large_is_next_)) return TransferClass::small;
    if (large_may) return TransferClass::large;
    return std::nullopt;
  }

  unsigned places_for_large(unsigned places, TimePoint now) {
    const bool small_may_come = taken(TransferClass::small) > 0 ||
                                !line(TransferClass::small).empty() ||
                                (small_seen_ && now - *small_seen_ < kSmallMemory);
    return places < 2 || !small_may_come ? places : places - std::max(places / 4, 1U);
  }

  std::array<std::deque<Waiting>, 2> lines_;
  std::array<unsigned, 2> taken_{};
  bool large_is_next_ = false;
  std::optional<TimePoint> small_seen_;
};

}  // namespace nbdstack
