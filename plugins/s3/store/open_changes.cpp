#include "plugins/s3/store/open_changes.hpp"

#include <algorithm>

namespace nbdstack {
namespace {

bool endangers(const OpenChange& change, const ObjectVersion& next) {
  if (change.over.is_known()) return change.over == next && change.result != next;
  return !next.is_known() || change.result != next;
}

}  // namespace

void OpenChanges::add(BlockNumber block, const OpenChange& change, Duration bound) {
  const TimePoint now = clock_.now();
  TimePoint open_until = now + bound;
  const MutexLock lock(mutex_);
  if (entries_.size() >= next_cleaning_) forget_old(now);
  auto& entries = entries_[block.value];
  std::erase_if(entries, [&](const Entry& each) {
    const bool is_same = each.change == change;
    if (is_same) open_until = std::max(open_until, each.open_until);
    return is_same || is_old(each, now);
  });
  entries.push_back({change, open_until});
}

void OpenChanges::forget_old(TimePoint now) {
  std::erase_if(entries_, [&](const auto& each) {
    return std::all_of(each.second.begin(), each.second.end(),
                       [&](const Entry& entry) { return is_old(entry, now); });
  });
  next_cleaning_ = 2 * entries_.size() + 64;
}

void OpenChanges::supersede(BlockNumber block) {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(block.value);
  if (found == entries_.end()) return;
  for (Entry& each : found->second) each.is_superseded = true;
}

std::vector<BlockNumber> OpenChanges::blocks_in(BlockNumber first, BlockNumber end) const {
  std::vector<BlockNumber> blocks;
  const MutexLock lock(mutex_);
  for (auto at = entries_.lower_bound(first.value); at != entries_.end() && at->first < end.value;
       ++at) {
    blocks.push_back({at->first});
  }
  return blocks;
}

bool OpenChanges::may_create(BlockNumber block) const {
  const TimePoint now = clock_.now();
  const MutexLock lock(mutex_);
  const auto found = entries_.find(block.value);
  return found != entries_.end() &&
         std::any_of(found->second.begin(), found->second.end(), [&](const Entry& each) {
           return each.change.over.is_absent() && now <= each.open_until + kRemembered;
         });
}

Duration OpenChanges::time_to_wait(BlockNumber block, const ObjectVersion& next) const {
  const TimePoint now = clock_.now();
  const MutexLock lock(mutex_);
  const auto found = entries_.find(block.value);
  Duration longest = Duration::zero();
  if (found == entries_.end()) return longest;
  for (const Entry& each : found->second) {
    if (endangers(each.change, next)) longest = std::max(longest, each.open_until - now);
  }
  return longest;
}

bool OpenChanges::has_any(BlockNumber block) const {
  const MutexLock lock(mutex_);
  return entries_.contains(block.value);
}

bool OpenChanges::explains(BlockNumber block, const ObjectVersion& found,
                           const std::string& checksum) const {
  const MutexLock lock(mutex_);
  const auto entries = entries_.find(block.value);
  return found.is_known() && entries != entries_.end() &&
         std::any_of(entries->second.begin(), entries->second.end(), [&](const Entry& each) {
           return each.change.result == found ||
                  (!checksum.empty() && each.change.checksum == checksum);
         });
}

}  // namespace nbdstack
