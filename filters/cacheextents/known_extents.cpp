#include "filters/cacheextents/known_extents.hpp"

#include <algorithm>
#include <utility>

namespace nbdstack {

KnownExtents::Change KnownExtents::change(const Range& range) {
  const MutexLock lock(mutex_);
  const auto run = values_.find(range.offset);
  if (!run || run->value != kData || !run->range.contains(range)) {
    values_.assign(range, kData);
    make_room(range);
  }
  return begin_change(range);
}

KnownExtents::Answer KnownExtents::look(const Range& asked, std::uint64_t size_bytes,
                                        bool only_one) {
  const MutexLock lock(mutex_);
  // Waits once: the awaited query may have failed, or its reply may not cover this offset.
  for (bool may_wait = true;; may_wait = false) {
    ExtentList found = known_from(asked, only_one);
    if (!found.empty()) return {std::move(found), std::nullopt};
    const auto other = may_wait ? query_about(asked.offset) : std::nullopt;
    if (!other) break;
    ++waiting_;
    while (is_in_flight(*other)) query_ended_.wait(mutex_);
    --waiting_;
  }
  return {{}, begin_query(unknown_from(asked.offset, size_bytes))};
}

std::size_t KnownExtents::waiting() const {
  const MutexLock lock(mutex_);
  return waiting_;
}

ExtentList KnownExtents::known_from(const Range& asked, bool only_one) const {
  ExtentList found;
  const std::size_t most = only_one ? 1 : kMostExtents;
  std::uint64_t position = asked.offset;
  for (std::size_t count = 0; count < most && position < asked.end(); ++count) {
    const auto run = values_.find(position);
    if (!run) break;
    const std::uint64_t end = std::min(run->range.end(), asked.end());
    found.append({position, end - position}, run->value);
    position = end;
  }
  return found;
}

Range KnownExtents::unknown_from(std::uint64_t offset, std::uint64_t size_bytes) const {
  const std::uint64_t rest = size_bytes - offset;
  if (rest > kAskedAhead && !values_.find(offset + kAskedAhead - 1)) return {offset, rest};
  std::uint64_t end = offset + std::min(rest, kAskedAhead);
  for (std::size_t looked_at = 0; looked_at < kMostExtents; ++looked_at) {
    const auto run = values_.find(end - 1);
    if (!run) break;
    end = run->range.offset;
  }
  return {offset, std::min(rest, (end + kGranule - 1) / kGranule * kGranule - offset)};
}

std::optional<std::uint64_t> KnownExtents::query_about(std::uint64_t offset) const {
  for (const InFlight& each : in_flight_) {
    const Range expected{each.range.offset, std::min(each.range.length, kAskedAhead)};
    if (!each.is_change && expected.overlaps({offset, 1})) return each.number;
  }
  return std::nullopt;
}

bool KnownExtents::is_in_flight(std::uint64_t number) const {
  return std::any_of(in_flight_.begin(), in_flight_.end(),
                     [&](const InFlight& each) { return each.number == number; });
}

}  // namespace nbdstack
