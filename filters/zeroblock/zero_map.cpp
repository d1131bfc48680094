#include "filters/zeroblock/zero_map.hpp"

#include <exception>
#include <utility>

#include "filters/zeroblock/block_bounds.hpp"

namespace nbdstack {

ZeroMap::ZeroMap(const BlockGeometry& geometry, View view, std::size_t most_runs)
    : geometry_(geometry),
      most_runs_(most_runs),
      view_(view),
      since_start_{{0, geometry.size_bytes()}, {}, false} {}

std::vector<Extent> ZeroMap::known(const Range& range) const {
  const std::lock_guard lock(mutex_);
  std::vector<Extent> found;
  for (const auto& run : runs_.overlapping(range)) found.push_back({run.range, run.value});
  return found;
}

std::vector<Extent> ZeroMap::zeros(const Range& range) const {
  const std::lock_guard lock(mutex_);
  return zeros_locked(range);
}

std::vector<Extent> ZeroMap::zeros_locked(const Range& range) const {
  std::vector<Extent> found;
  for (const auto& run : runs_.overlapping(range)) {
    if (run.value.zero) found.push_back({run.range, run.value});
  }
  return found;
}

bool ZeroMap::is_zeros(const Range& range) const {
  return is_all(range, [](ExtentType type) { return type.zero; });
}

bool ZeroMap::is_hole(const Range& range) const {
  return is_all(range, [](ExtentType type) { return type == kHole; });
}

bool ZeroMap::is_all(const Range& range, bool (*accepts)(ExtentType)) const {
  const std::lock_guard lock(mutex_);
  for (std::uint64_t position = range.offset; position < range.end();) {
    const auto run = runs_.find(position);
    if (!run || !accepts(run->value)) return false;
    position = run->range.end();
  }
  return true;
}

std::size_t ZeroMap::runs() const {
  const std::lock_guard lock(mutex_);
  return runs_.size();
}

// --- Changes ---

std::optional<ZeroMap::Change> ZeroMap::begin_change(const Range& blocks, const Range& owned) {
  const std::lock_guard lock(mutex_);
  for (const Extent& extent : zeros_locked(blocks)) {
    if (!owned.contains(extent.range)) return std::nullopt;
  }
  return Change(*this, blocks);
}

ZeroMap::Change::Change(ZeroMap& map, const Range& blocks)
    : map_(&map),
      place_(map.changes_.insert(map.changes_.end(), blocks)),
      zeros_before_(map.zeros_locked(blocks)),
      times_forgotten_(map.times_forgotten_) {
  try {
    map.take_zeros_away(blocks, zeros_before_);
  } catch (...) {
    map.changes_.erase(place_);
    throw;
  }
}

ZeroMap::Change::Change(Change&& other) noexcept
    : map_(std::exchange(other.map_, nullptr)),
      place_(other.place_),
      zeros_before_(std::move(other.zeros_before_)),
      times_forgotten_(other.times_forgotten_),
      committed_(other.committed_) {}

ZeroMap::Change::~Change() {
  if (map_ == nullptr) return;
  const std::lock_guard lock(map_->mutex_);
  map_->end_change(place_, committed_);
}

void ZeroMap::Change::commit(std::span<const Content> contents) {
  const std::lock_guard lock(map_->mutex_);
  if (map_->times_forgotten_ != times_forgotten_) return;
  for (const Content& content : contents) {
    if (content.type) {
      map_->runs_.assign(content.range, *content.type);
    } else {
      map_->runs_.erase(content.range);
    }
  }
  map_->bound_runs(place_->end());
  committed_ = true;
}

void ZeroMap::take_zeros_away(const Range& blocks, const std::vector<Extent>& zeros) {
  for (const Extent& extent : zeros) runs_.erase(extent.range);
  bound_runs(blocks.end());
}

// Where there is no memory left to say what is not known, nothing is known.
void ZeroMap::end_change(std::list<Range>::iterator place, bool committed) noexcept {
  for (Watched& watched : watches_) watched.note(*place, most_runs_);
  if (view_ == View::own_connection) since_start_.note(*place, most_runs_);
  if (!committed) {
    try {
      runs_.erase(*place);
    } catch (const std::exception&) {
      runs_.clear();
    }
  }
  changes_.erase(place);
}

void ZeroMap::forget_all() noexcept {
  const std::lock_guard lock(mutex_);
  runs_.clear();
  ++times_forgotten_;
  for (Watched& watched : watches_) {
    watched.all_changed = true;
    watched.changed.clear();
  }
}

void ZeroMap::Watched::note(const Range& change, std::size_t most_runs) noexcept {
  if (all_changed || !range.overlaps(change)) return;
  try {
    changed.assign(change, true);
    all_changed = changed.size() > most_runs;
  } catch (const std::exception&) {
    all_changed = true;
  }
  if (all_changed) changed.clear();
}

// Which runs go does not matter much when there are as many; those that were just made stay.
void ZeroMap::bound_runs(std::uint64_t keep_before) {
  while (runs_.size() > most_runs_) {
    auto victim = runs_.next(keep_before);
    if (!victim) victim = runs_.first();
    runs_.erase(victim->range);
  }
}

// --- Learning ---

ZeroMap::Watch::Watch(ZeroMap& map, const Range& range) : map_(map) {
  const std::lock_guard lock(map.mutex_);
  place_ = map.watches_.insert(map.watches_.end(), Watched{range, {}, false});
}

ZeroMap::Watch::~Watch() {
  const std::lock_guard lock(map_.mutex_);
  map_.watches_.erase(place_);
}

void ZeroMap::Watch::learn(std::span<const Extent> found) {
  RunMap<ExtentType> news;
  for (const Extent& extent : found) {
    if (extent.type.hole && !extent.type.zero) continue;
    const Range told = extent.range.intersection(place_->range);
    if (!told.empty()) news.assign(blocks_inside(map_.geometry_, told), extent.type);
  }
  const auto first = news.first();
  if (!first) return;
  const Range span{first->range.offset, place_->range.end() - first->range.offset};
  const std::lock_guard lock(map_.mutex_);
  for (const Watched* watched : {&*place_, &map_.since_start_}) {
    if (watched->all_changed) return;
    for (const auto& changed : watched->changed.overlapping(span)) news.erase(changed.range);
  }
  for (const Range& change : map_.changes_) news.erase(change.intersection(span));
  for (const auto& run : map_.runs_.overlapping(span)) {
    for (const auto& part : news.overlapping(run.range)) {
      if (run.value.zero || !part.value.zero) news.erase(part.range);
    }
  }
  for (const auto& part : news.overlapping(span)) map_.runs_.assign(part.range, part.value);
  map_.bound_runs(span.end());
}

}  // namespace nbdstack
