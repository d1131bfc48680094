#include "filters/readahead/stream.hpp"

#include <algorithm>
#include <bit>

#include "common/invariant.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kOvertakenReads_max = 16;  // reads; nbdkit's threads for a connection
constexpr std::uint64_t kStepsAhead_max = 64;
constexpr std::uint64_t kParts_max = 8;  // of a window: the least that is worth a request
constexpr std::size_t kGaps_max = 16;

constexpr int kFirstScore = 4;
constexpr int kScore_max = 8;
constexpr int kWorthOfNext = 1;
constexpr int kWorthOfGap = 2;

}  // namespace

Stream::Stream(const AccessPattern& pattern, std::uint64_t disk_size_bytes,
               const WindowLimits& limits)
    : direction_(pattern.direction),
      step_(pattern.step),
      length_(pattern.length),
      end_(pattern.direction == Direction::forward ? disk_size_bytes : kAddressSpaceEnd),
      limits_(limits),
      next_(pattern.next),
      asked_to_(pattern.next),
      window_(limits.first_bytes),
      score_(kFirstScore) {
  INVARIANT(step_ == 0 || length_ != 0, step_);
  INVARIANT(std::has_single_bit(limits.preferred_block_size) &&
                std::has_single_bit(limits.minimum_block_size),
            limits.preferred_block_size, limits.minimum_block_size);
}

Stream::Match Stream::match(const Range& read, bool others_under_way) const {
  const Range place = along(direction_, read);
  if (step_ == 0 ? place.end() <= next_ : place.offset < next_) {
    const bool fits =
        step_ == 0 || (place.length == length_ && (next_ - place.offset) % step_ == 0);
    return {fits && gaps_.overlaps(place) ? Relation::late : Relation::stranger, 0};
  }
  if (step_ != 0) return match_step(place);
  const std::uint64_t left_out = place.offset - std::min(place.offset, next_);
  const std::uint64_t tolerated = place.length * (others_under_way ? kOvertakenReads_max : 1);
  if (left_out > std::max(asked_to_ - next_, tolerated)) return {};
  return {Relation::next, left_out};
}

Stream::Match Stream::match_step(const Range& place) const {
  const std::uint64_t left_out = place.offset - next_;
  if (place.length != length_ || left_out % step_ != 0 || left_out / step_ > kOvertakenReads_max) {
    return {};
  }
  return {Relation::next, left_out};
}

std::optional<Range> Stream::take(const Range& read, Relation relation) {
  const Range place = along(direction_, read);
  if (relation == Relation::late) {
    gaps_.erase(place);
    score_ = std::min(score_ + kWorthOfGap, kScore_max);
    skipped_ = false;
    return std::nullopt;
  }
  const std::uint64_t left_out = place.offset - std::min(place.offset, next_);
  if (left_out > 0) gaps_.assign({next_, left_out}, true);
  skipped_ = left_out >= place.length;
  score_ = skipped_ ? score_ - kWorthOfGap : std::min(score_ + kWorthOfNext, kScore_max);
  if (!skipped_) ++in_order_;
  next_ = step_ == 0 ? place.end() : place.offset + step_;
  asked_to_ = std::max(asked_to_, next_);
  if (gaps_.size() <= kGaps_max) return std::nullopt;
  const Range oldest = gaps_.first()->range;
  gaps_.erase(oldest);
  return along(direction_, oldest);
}

std::vector<Range> Stream::move_window(std::uint64_t allowed_bytes) {
  INVARIANT(asked_to_ >= next_, asked_to_, next_);
  if (skipped_ || asked_to_ >= end_) return {};
  return step_ == 0 ? move_sequence(allowed_bytes) : move_steps(allowed_bytes);
}

std::vector<Range> Stream::move_sequence(std::uint64_t allowed_bytes) {
  const std::uint64_t ahead = asked_to_ - next_;
  if (ahead > window_ / 2) return {};
  const std::uint64_t wanted = window_ - ahead;
  // A small part is not worth a request: more will follow.
  const std::uint64_t worth = std::max(limits_.first_bytes, window_ / kParts_max);
  if (allowed_bytes < std::min(wanted, worth)) return {};
  const std::uint64_t end =
      on_bound(asked_to_ + std::min({wanted, allowed_bytes, end_ - asked_to_}));
  if (end <= asked_to_) return {};
  const Range found{asked_to_, end - asked_to_};
  asked_to_ = end;
  granted(wanted <= allowed_bytes);
  return {along(direction_, found)};
}

std::uint64_t Stream::on_bound(std::uint64_t end) const {
  if (end == end_) return end;
  const std::uint64_t bound = end & ~(std::uint64_t{limits_.preferred_block_size} - 1);
  if (bound > asked_to_) return bound;
  return end & ~(std::uint64_t{limits_.minimum_block_size} - 1);
}

std::vector<Range> Stream::move_steps(std::uint64_t allowed_bytes) {
  const std::uint64_t ahead = (asked_to_ - next_) / step_;
  const std::uint64_t window = std::clamp<std::uint64_t>(window_ / length_, 1, kStepsAhead_max);
  if (ahead > window / 2) return {};
  const std::uint64_t wanted = window - ahead;
  const std::uint64_t count = std::min(wanted, allowed_bytes / length_);
  std::vector<Range> found;
  for (std::uint64_t i = 0; i < count && asked_to_ + length_ <= end_; ++i) {
    found.push_back(along(direction_, {asked_to_, length_}));
    asked_to_ += step_;
  }
  if (!found.empty()) granted(count == wanted);
  return found;
}

void Stream::granted(bool whole) {
  if (whole) window_ = std::min(window_ * 2, limits_.largest_bytes);
}

std::vector<Range> Stream::expected() const {
  std::vector<Range> ranges;
  for (const auto& gap : gaps_.overlapping({0, next_})) {
    ranges.push_back(along(direction_, gap.range));
  }
  if (asked_to_ > next_) {
    const std::uint64_t end = std::min(asked_to_, end_);
    if (end > next_) ranges.push_back(along(direction_, {next_, end - next_}));
  }
  return ranges;
}

}  // namespace nbdstack
