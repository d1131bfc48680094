#include "common/block/known_ranges.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <new>

namespace nbdstack {
namespace {

constexpr Range kEverything{0, std::numeric_limits<std::uint64_t>::max()};

}  // namespace

KnownRanges::KnownRanges(const Limits& limits, View view, Prefers prefers_known)
    : limits_(limits), prefers_known_(prefers_known) {
  if (view == View::own_connection) ever_.emplace(InFlight{.range = kEverything});
}

std::vector<Extent> KnownRanges::known(const Range& range) const {
  const MutexLock lock(mutex_);
  std::vector<Extent> found;
  for (const auto& run : values_.overlapping(range)) found.push_back({run.range, run.value});
  return found;
}

std::size_t KnownRanges::runs() const {
  const MutexLock lock(mutex_);
  return values_.size();
}

bool KnownRanges::has_forgotten() const {
  const MutexLock lock(mutex_);
  return has_forgotten_;
}

void KnownRanges::forget_all() noexcept {
  const MutexLock lock(mutex_);
  values_.clear();
  for (InFlight& each : in_flight_) {
    each.is_all_disturbed = true;
    each.disturbed.clear();
  }
}

// --- In flight ---

KnownRanges::Place KnownRanges::enter(const Range& range, bool is_change) {
  std::list<InFlight> entered(1);
  InFlight& mine = entered.front();
  mine.range = range;
  mine.is_change = is_change;
  mine.number = next_number_++;
  for (InFlight& other : in_flight_) {
    if (!other.range.overlaps(range)) continue;
    if (other.is_change) disturb(mine, other.range, limits_.disturbed_max);
    if (is_change) disturb(other, range, limits_.disturbed_max);
  }
  if (is_change && ever_) disturb(*ever_, range, limits_.runs_max);
  in_flight_.splice(in_flight_.end(), entered);
  return std::prev(in_flight_.end());
}

void KnownRanges::disturb(InFlight& target, const Range& by, std::size_t parts_max) {
  if (target.is_all_disturbed) return;
  target.disturbed.assign(target.range.intersection(by), true);
  if (target.disturbed.size() <= parts_max) return;
  target.is_all_disturbed = true;
  target.disturbed.clear();
}

KnownRanges::Query KnownRanges::query(const Range& range) {
  const MutexLock lock(mutex_);
  return begin_query(range);
}

KnownRanges::Query::~Query() {
  if (known_ == nullptr) return;
  const MutexLock lock(known_->mutex_);
  known_->in_flight_.erase(place_);
  known_->query_ended_.notify_all();
}

// Lack of memory does no harm: since the change began its range is either data or unknown, and both
// may stay.
KnownRanges::Change::~Change() {
  if (known_ == nullptr) return;
  const MutexLock lock(known_->mutex_);
  try {
    if (!is_committed_) known_->values_.erase(place_->range);
  } catch (const std::bad_alloc&) {
  }
  known_->in_flight_.erase(place_);
}

void KnownRanges::Change::commit(std::span<const Content> contents) {
  const MutexLock lock(known_->mutex_);
  try {
    RunMap<ExtentType> made;
    for (const Content& content : contents) {
      known_->values_.erase(content.range);
      if (content.type) made.assign(content.range, *content.type);
    }
    known_->learn(made, *place_);
    is_committed_ = true;
  } catch (const std::bad_alloc&) {
  }
}

// --- Learning ---

void KnownRanges::Query::learn(std::span<const Extent> reply) {
  RunMap<ExtentType> told;
  for (const Extent& extent : reply) told.assign(extent.range.intersection(range()), extent.type);
  const MutexLock lock(known_->mutex_);
  known_->learn(told, *place_);
}

void KnownRanges::leave_out(RunMap<ExtentType>& told, const InFlight& disturbed) {
  if (disturbed.is_all_disturbed) return told.clear();
  if (disturbed.disturbed.empty() || told.empty()) return;
  for (const auto& part : disturbed.disturbed.overlapping(told.span())) told.erase(part.range);
}

// Keeps the first runs if there are more than there is room for: each run further would evict one
// of them.
void KnownRanges::learn(RunMap<ExtentType>& told, const InFlight& source) {
  leave_out(told, source);
  if (ever_ && !source.is_change) leave_out(told, *ever_);
  for (const auto& run : values_.overlapping(told.span())) {
    for (const auto& part : told.overlapping(run.range)) {
      if (prefers_known_(run.value, part.value)) told.erase(part.range);
    }
  }
  Range learnt{told.span().offset, 0};
  std::size_t count = 0;
  for (const auto& part : told.overlapping(told.span())) {
    if (count++ == limits_.runs_max) break;
    learnt.length = part.range.end() - learnt.offset;
    values_.assign(part.range, part.value);
    make_room(learnt);
  }
}

void KnownRanges::make_room(Range keep) {
  for (bool was_at_end = false; values_.size() > limits_.runs_max;) {
    const auto run = values_.next(next_forgotten_);
    if (!run) {
      if (was_at_end) keep = {};
      was_at_end = true;
      next_forgotten_ = 0;
    } else if (run->range.overlaps(keep)) {
      next_forgotten_ = std::max(run->range.end(), keep.end());
    } else {
      values_.erase(run->range);
      next_forgotten_ = run->range.end();
      has_forgotten_ = true;
    }
  }
}

}  // namespace nbdstack
