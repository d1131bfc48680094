#include "filters/cacheextents/known_extents.hpp"

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

namespace nbdstack {
namespace {

constexpr ExtentType kAllocatedZeros{.hole = false, .zero = true};

// Parts of a range that changes have disturbed, before all of it counts as disturbed: a question
// that takes long must not gather every small write of that time.
constexpr std::size_t kMostDisturbed = 1024;

// Calls `visit(part)` for each part of `range` that has no value in `map`.
template <typename Value, typename Visit>
void for_each_gap(const RunMap<Value>& map, const Range& range, Visit&& visit) {
  std::uint64_t position = range.offset;
  for (const auto& run : map.overlapping(range)) {
    if (run.range.offset > position) visit(Range{position, run.range.offset - position});
    position = run.range.end();
  }
  if (position < range.end()) visit(Range{position, range.end() - position});
}

}  // namespace

// --- Answers, with mutex_ held ---

ExtentList KnownExtents::known_from(const Range& asked, bool only_one) const {
  ExtentList found;
  const std::size_t most = only_one ? 1 : kMostExtents;
  std::uint64_t position = asked.offset;
  for (std::size_t count = 0; count < most && position < asked.end(); ++count) {
    const auto run = known_.find(position);
    if (!run) break;
    const std::uint64_t end = std::min(run->range.end(), asked.end());
    found.append({position, end - position}, run->value);
    position = end;
  }
  return found;
}

Range KnownExtents::unknown_from(std::uint64_t offset, std::uint64_t size_bytes) const {
  const std::uint64_t rest = size_bytes - offset;
  if (rest > kAskedAhead && !known_.find(offset + kAskedAhead - 1)) return {offset, rest};
  std::uint64_t end = offset + std::min(rest, kAskedAhead);
  for (std::size_t looked_at = 0; looked_at < kMostExtents; ++looked_at) {
    const auto run = known_.find(end - 1);
    if (!run) break;
    end = run->range.offset;
  }
  return {offset, std::min(rest, (end + kGranule - 1) / kGranule * kGranule - offset)};
}

std::optional<std::uint64_t> KnownExtents::question_about(std::uint64_t offset) const {
  for (const UnderWay& each : under_way_) {
    const Range expected{each.range.offset, std::min(each.range.length, kAskedAhead)};
    if (!each.is_change && expected.overlaps({offset, 1})) return each.number;
  }
  return std::nullopt;
}

bool KnownExtents::is_under_way(std::uint64_t number) const {
  return std::any_of(under_way_.begin(), under_way_.end(),
                     [&](const UnderWay& each) { return each.number == number; });
}

// --- Questions ---

KnownExtents::Answer KnownExtents::look(const Range& asked, std::uint64_t size_bytes,
                                        bool only_one) {
  Lock lock(mutex_);
  // Once: whoever was waited for may have failed, or may not have heard of this offset.
  for (bool may_wait = true;; may_wait = false) {
    ExtentList found = known_from(asked, only_one);
    if (!found.empty()) return {std::move(found), std::nullopt};
    const auto other = may_wait ? question_about(asked.offset) : std::nullopt;
    if (!other) break;
    ++waiting_;
    question_ended_.wait(lock, [&] { return !is_under_way(*other); });
    --waiting_;
  }
  return {{}, Question(*this, enter(unknown_from(asked.offset, size_bytes), false))};
}

KnownExtents::Question::Question(Question&& other) noexcept
    : known_(std::exchange(other.known_, nullptr)), place_(other.place_) {}

KnownExtents::Question::~Question() {
  if (known_ == nullptr) return;
  {
    const std::lock_guard lock(known_->mutex_);
    known_->under_way_.erase(place_);
  }
  known_->question_ended_.notify_all();
}

// What changes have disturbed is known of range() only, so nothing behind it counts. A reply of
// more runs than there is room for would push itself out: its first part is what is kept.
void KnownExtents::Question::learn(const ExtentList& reply) {
  const std::lock_guard lock(known_->mutex_);
  Range learnt{place_->range.offset, 0};
  std::size_t added = 0;
  for (const Extent& extent : reply.all()) {
    if (added >= known_->max_runs_ / 2) break;
    const Range told = extent.range.intersection(place_->range);
    learnt.length = told.end() - learnt.offset;
    added += known_->learn({told, extent.type}, place_->disturbed, learnt);
  }
}

// --- Changes ---

// When there is no memory for it, the range may count as data already, which it may at any time.
KnownExtents::Place KnownExtents::begin(const Range& range) {
  const std::lock_guard lock(mutex_);
  const auto run = known_.find(range.offset);
  if (!run || run->value != kData || !run->range.contains(range)) {
    known_.assign(range, kData);
    make_room(range);
  }
  return enter(range, true);
}

KnownExtents::Change::~Change() {
  known_.end(place_, left_);
}

// The range counts as data, or is unknown, since the change began. So it may stay as it is, which
// is what becomes of it when there is no memory to say anything better.
void KnownExtents::end(Place change, Left left) {
  const std::lock_guard lock(mutex_);
  try {
    if (left != Left::data) known_.erase(change->range);
    if (left == Left::zeros) {
      learn({change->range, kAllocatedZeros}, change->disturbed, change->range);
    }
  } catch (const std::bad_alloc&) {
  }
  under_way_.erase(change);
}

// --- With mutex_ held ---

KnownExtents::Place KnownExtents::enter(const Range& range, bool is_change) {
  const auto disturb = [](UnderWay& target, const Range& by) {
    const bool is_many = target.disturbed.size() >= kMostDisturbed;
    target.disturbed.assign(is_many ? target.range : target.range.intersection(by), true);
  };
  std::list<UnderWay> entered(1);
  UnderWay& mine = entered.front();
  mine.range = range;
  mine.is_change = is_change;
  mine.number = next_number_++;
  for (UnderWay& other : under_way_) {
    if (!other.range.overlaps(range)) continue;
    if (other.is_change) disturb(mine, other.range);
    if (is_change) disturb(other, range);
  }
  under_way_.splice(under_way_.end(), entered);
  return std::prev(under_way_.end());
}

std::size_t KnownExtents::learn(const Extent& extent, const RunMap<bool>& except,
                                const Range& keep) {
  std::size_t added = 0;
  for_each_gap(except, extent.range, [&](const Range& undisturbed) {
    known_.assign(undisturbed, extent.type);
    make_room(keep);
    ++added;
  });
  return added;
}

void KnownExtents::make_room(Range keep) {
  for (bool was_at_end = false; known_.size() > max_runs_;) {
    const auto run = known_.next(next_forgotten_);
    if (!run) {
      if (was_at_end) keep = {};
      was_at_end = true;
      next_forgotten_ = 0;
    } else if (run->range.overlaps(keep)) {
      next_forgotten_ = std::max(run->range.end(), keep.end());
    } else {
      known_.erase(run->range);
      next_forgotten_ = run->range.end();
      has_forgotten_ = true;
    }
  }
}

// --- For tests and the log ---

std::size_t KnownExtents::runs() const {
  const std::lock_guard lock(mutex_);
  return known_.size();
}

bool KnownExtents::has_forgotten() const {
  const std::lock_guard lock(mutex_);
  return has_forgotten_;
}

std::size_t KnownExtents::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

}  // namespace nbdstack
