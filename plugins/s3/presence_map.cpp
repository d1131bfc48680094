#include "plugins/s3/presence_map.hpp"

namespace nbdstack {

bool PresenceMap::is_absent(BlockNumber block) const {
  if (!is_owner_ || !is_owner_()) return false;
  const std::lock_guard lock(mutex_);
  const auto run = states_.find(block.value);
  return run.has_value() && run->value == State::absent;
}

std::optional<std::vector<Range>> PresenceMap::candidates(BlockNumber first,
                                                          BlockNumber end) const {
  if (!is_owner_ || !is_owner_()) return std::nullopt;
  std::vector<Range> found;
  std::uint64_t position = first.value;
  const std::lock_guard lock(mutex_);
  for (const auto& run : states_.overlapping({first.value, end.value - first.value})) {
    if (run.range.offset != position) return std::nullopt;
    position = run.range.end();
    if (run.value == State::absent) continue;
    if (!found.empty() && found.back().end() == run.range.offset) {
      found.back().length += run.range.length;
    } else {
      found.push_back(run.range);
    }
  }
  return position == end.value ? std::optional(std::move(found)) : std::nullopt;
}

void PresenceMap::change(std::span<const BlockNumber> blocks) {
  assign(blocks, State::doubtful);
}

void PresenceMap::stored(BlockNumber block) {
  assign(std::span(&block, 1), State::present);
}

void PresenceMap::removed(std::span<const BlockNumber> blocks) {
  assign(blocks, State::absent);
}

void PresenceMap::assign(std::span<const BlockNumber> blocks, State state) {
  if (!is_in_use()) return;
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < blocks.size();) {
    std::size_t next = i + 1;
    while (next < blocks.size() && blocks[next].value == blocks[next - 1].value + 1) ++next;
    states_.assign({blocks[i].value, next - i}, state);
    i = next;
  }
}

void PresenceMap::learn(std::span<const BlockNumber> present, BlockNumber first, BlockNumber end) {
  if (!is_in_use()) return;
  const std::lock_guard lock(mutex_);
  for (const BlockNumber block : present) fill({block.value, 1}, State::present);
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

std::size_t PresenceMap::runs() const {
  const std::lock_guard lock(mutex_);
  return states_.size();
}

}  // namespace nbdstack
