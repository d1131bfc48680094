#include "plugins/s3/blocks/presence_map.hpp"

#include <limits>

namespace nbdstack {
namespace {

void append_range(std::vector<Range>& runs, const Range& range) {
  if (!runs.empty() && runs.back().end() == range.offset) {
    runs.back().length += range.length;
  } else {
    runs.push_back(range);
  }
}

}  // namespace

PresenceMap::PresenceMap(std::function<bool()> is_owner, const KnownBlocks& known)
    : is_owner_(std::move(is_owner)) {
  if (!is_in_use()) return;
  for (const KnownRun& run : known) {
    states_.assign(run.blocks, run.stored ? State::recorded_stored : State::recorded_absent);
  }
}

std::optional<PresenceMap::State> PresenceMap::state_of(BlockNumber block) const {
  if (!is_owner_ || !is_owner_()) return std::nullopt;
  const MutexLock lock(mutex_);
  return states_.find(block.value);
}

bool PresenceMap::is_absent(BlockNumber block) const {
  const auto state = state_of(block);
  return state.has_value() && is_absence(*state);
}

bool PresenceMap::is_stored(BlockNumber block) const {
  const auto state = state_of(block);
  return state.has_value() && is_certain_storage(*state);
}

template <typename Visit>
void PresenceMap::walk(BlockNumber first, BlockNumber end, Visit&& visit) const {
  std::uint64_t position = first.value;
  const auto unknown = [&](std::uint64_t to) {
    return position == to || visit(Range{position, to - position}, std::optional<State>());
  };
  for (const auto& run : states_.overlapping({first.value, end.value - first.value})) {
    if (!unknown(run.range.offset) || !visit(run.range, std::optional(run.value))) return;
    position = run.range.end();
  }
  unknown(end.value);
}

std::optional<std::vector<Range>> PresenceMap::candidates(BlockNumber first,
                                                          BlockNumber end) const {
  if (!is_owner_ || !is_owner_()) return std::nullopt;
  std::vector<Range> found;
  bool is_known = true;
  const MutexLock lock(mutex_);
  walk(first, end, [&](const Range& range, std::optional<State> state) {
    is_known = state.has_value();
    if (is_known && !is_absence(*state)) append_range(found, range);
    return is_known;
  });
  return is_known ? std::optional(std::move(found)) : std::nullopt;
}

std::vector<Range> PresenceMap::not_absent(BlockNumber first, BlockNumber end) const {
  std::vector<Range> whole{{first.value, end.value - first.value}};
  if (!is_in_use()) return whole;
  std::vector<Range> found;
  {
    const MutexLock lock(mutex_);
    walk(first, end, [&](const Range& range, std::optional<State> state) {
      if (!state.has_value() || !is_absence(*state)) append_range(found, range);
      return true;
    });
  }
  return found == whole || !is_owner_() ? whole : found;
}

void PresenceMap::change(std::span<const BlockNumber> blocks) {
  assign(blocks, State::doubtful);
}

void PresenceMap::stored(BlockNumber block) {
  assign(std::span(&block, 1), State::stored);
}

void PresenceMap::removed(std::span<const BlockNumber> blocks) {
  assign(blocks, State::absent);
}

void PresenceMap::assign(std::span<const BlockNumber> blocks, State state) {
  if (!is_in_use()) return;
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < blocks.size();) {
    std::size_t next = i + 1;
    while (next < blocks.size() && blocks[next].value == blocks[next - 1].value + 1) ++next;
    states_.assign({blocks[i].value, next - i}, state);
    i = next;
  }
}

void PresenceMap::not_found(BlockNumber block) {
  if (!is_in_use()) return;
  const MutexLock lock(mutex_);
  const auto state = states_.find(block.value);
  if (!state.has_value() || *state == State::listed) {
    states_.assign({block.value, 1}, State::absent);
  }
}

void PresenceMap::learn(std::span<const BlockNumber> present, BlockNumber first, BlockNumber end) {
  if (!is_in_use()) return;
  const MutexLock lock(mutex_);
  for (const BlockNumber block : present) fill({block.value, 1}, State::listed);
  fill({first.value, end.value - first.value}, State::absent);
}

void PresenceMap::fill(const Range& range, State state) {
  std::uint64_t position = range.offset;
  for (const auto& run : states_.overlapping(range)) {
    if (run.range.offset > position) {
      states_.assign({position, run.range.offset - position}, state);
    }
    position = run.range.end();
  }
  if (position < range.end()) states_.assign({position, range.end() - position}, state);
}

PresenceMap::Comparison PresenceMap::compare(std::span<const BlockNumber> listed, BlockNumber first,
                                             BlockNumber end) {
  Comparison found;
  if (!is_in_use()) return found;
  const MutexLock lock(mutex_);
  for (const BlockNumber block : listed) {
    const auto state = states_.find(block.value);
    if (state == State::recorded_stored) ++found.confirmed;
    if (state != State::recorded_absent) continue;
    states_.erase({block.value, 1});
    found.unexpected.push_back(block);
  }
  walk(first, end, [&](const Range& range, std::optional<State> state) {
    if (state == State::recorded_stored) found.recorded += range.length;
    return true;
  });
  return found;
}

KnownBlocks PresenceMap::known() const {
  KnownBlocks known;
  if (!is_in_use()) return known;
  const MutexLock lock(mutex_);
  constexpr Range kAll{0, std::numeric_limits<std::uint64_t>::max()};
  for (const auto& run : states_.overlapping(kAll)) {
    const bool stored = is_certain_storage(run.value);
    if (!stored && !is_absence(run.value)) continue;
    if (!known.empty() && known.back().stored == stored &&
        known.back().blocks.end() == run.range.offset) {
      known.back().blocks.length += run.range.length;
    } else {
      known.push_back({.blocks = run.range, .stored = stored});
    }
  }
  return known;
}

std::size_t PresenceMap::runs() const {
  const MutexLock lock(mutex_);
  return states_.size();
}

}  // namespace nbdstack
