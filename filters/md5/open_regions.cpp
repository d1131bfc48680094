#include "filters/md5/open_regions.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <span>

#include "common/error.hpp"
#include "common/hash/xxh3.hpp"
#include "common/invariant.hpp"
#include "filters/md5/md5_file_layout.hpp"

namespace nbdstack {
namespace {

// The entry in the file.
struct RawEntry {
  std::uint64_t region_plus_1;
  std::uint64_t settled;
  std::uint64_t records_checksum;
  std::uint64_t checksum;
};
static_assert(sizeof(RawEntry) == OpenRegions::kEntry_bytes);
static_assert(kRegionList_offset + OpenRegions::kEntries * sizeof(RawEntry) <= kRecords_offset);

// Returns whether a file can have records of such a region: they must lie within the largest file.
bool is_possible(const RawEntry& raw) {
  constexpr std::uint64_t kFile_bytes_max = std::numeric_limits<std::int64_t>::max();
  return raw.region_plus_1 != 0 &&
         raw.region_plus_1 <= (kFile_bytes_max - kRecords_offset) / kRegion_bytes;
}

std::uint64_t checksum_of(const RawEntry& raw, std::uint64_t seed) {
  return xxh3_64(std::as_bytes(std::span(&raw, 1)).first(offsetof(RawEntry, checksum)), seed);
}

}  // namespace

// --- The list in the file ---

std::vector<std::uint64_t> OpenRegions::doubted(std::optional<std::uint64_t> only) const {
  std::vector<RawEntry> entries(kEntries);
  file_.read_at(std::as_writable_bytes(std::span(entries)), kRegionList_offset);
  std::vector<std::uint64_t> regions;
  for (const RawEntry& raw : entries) {
    if (raw.region_plus_1 == 0 && raw.checksum == 0) continue;
    if (raw.checksum != checksum_of(raw, seed_) || !is_possible(raw)) {
      throw Error(EINVAL, fmt::format("md5-file {} is damaged: its list of regions cannot be read. "
                                      "To begin anew, remove it: all digests in it are forgotten",
                                      file_.path()));
    }
    const std::uint64_t region = raw.region_plus_1 - 1;
    if (only && *only != region) continue;
    if (raw.settled != 0 && raw.records_checksum == checksum_of_records(region)) continue;
    regions.push_back(region);
  }
  return regions;
}

void OpenRegions::clear() {
  const std::vector<std::byte> nothing(kEntries * kEntry_bytes);
  file_.write_at(nothing, kRegionList_offset);
  file_.sync_data();
}

void OpenRegions::write_entry(std::size_t entry, std::uint64_t region, bool settled) const {
  RawEntry raw{.region_plus_1 = region + 1,
               .settled = settled ? 1U : 0U,
               .records_checksum = settled ? checksum_of_records(region) : 0,
               .checksum = 0};
  raw.checksum = checksum_of(raw, seed_);
  file_.write_at(std::as_bytes(std::span(&raw, 1)), kRegionList_offset + entry * sizeof(raw));
}

std::uint64_t OpenRegions::checksum_of_records(std::uint64_t region) const {
  std::vector<std::byte> records(kRegion_bytes);
  read_padded(file_, records, offset_of_record({region * kBlocksPerRegion}));
  return xxh3_64(records, seed_ + region);
}

// --- Opening ---

std::optional<OpenRegions::Hold> OpenRegions::open(const Regions& regions) {
  std::optional<Hold> hold;  // outlives the lock, because its destructor locks, too
  const MutexLock lock(mutex_);
  while (any_is(regions, State::settling)) changed_.wait(mutex_);
  if (!find_places(regions)) return std::nullopt;
  for (std::uint64_t i = 0; i < regions.count; ++i) {
    const std::uint64_t region = regions.first + i;
    Region& mine = regions_.at(region);
    ++mine.holds;
    ++mine.changes;
    if (mine.state != State::closed && mine.state != State::settled) continue;
    pending_.emplace_back(region, mine.entry);
    set_state(region, State::opening);
  }
  ++held_;
  hold.emplace(*this, regions);
  while (any_is(regions, State::opening)) {
    if (is_opening_) {
      changed_.wait(mutex_);
    } else {
      open_pending();
    }
  }
  if (any_is(regions, State::closed)) std::rethrow_exception(failure_);
  return hold;
}

void OpenRegions::open_pending() {
  const auto opening = std::exchange(pending_, {});
  is_opening_ = true;
  std::exception_ptr failure;
  std::uint64_t failed_before = 0;
  do {
    failed_before = failed_syncs_;
    const MutexUnlock unlocked(mutex_);
    try {
      for (const auto& [region, entry] : opening) write_entry(entry, region, false);
      sync();
    } catch (...) {
      failure = std::current_exception();
    }
    // Another caller's failed sync may have lost writes that this sync then found clean.
  } while (!failure && failed_syncs_ != failed_before);
  is_opening_ = false;
  if (failure) failure_ = failure;
  for (const auto& [region, entry] : opening) {
    INVARIANT(regions_.at(region).state == State::opening, region);
    set_state(region, failure ? State::closed : State::open);
  }
  changed_.notify_all();
}

// Returns true if each of the regions is in the table.
bool OpenRegions::find_places(const Regions& regions) {
  std::vector<std::uint64_t> missing;
  std::size_t settled_among_them = 0;
  for (std::uint64_t i = 0; i < regions.count; ++i) {
    const auto found = regions_.find(regions.first + i);
    if (found == regions_.end()) {
      missing.push_back(regions.first + i);
    } else if (found->second.state == State::settled) {
      ++settled_among_them;
    }
  }
  const std::size_t free = kEntries - used_entries_ + settled_.size() - settled_among_them;
  if (missing.size() > free) return false;
  for (const std::uint64_t region : missing) {
    Region& added = regions_[region];
    added.entry = take_place(regions);
    added.age = added.node.insert(added.node.end(), region);
  }
  return true;
}

// Requires a free place. Those of `regions` keep theirs.
std::size_t OpenRegions::take_place(const Regions& regions) {
  if (used_entries_ < kEntries) return used_entries_++;
  const auto oldest = std::find_if(settled_.begin(), settled_.end(), [&](std::uint64_t region) {
    return region < regions.first || region - regions.first >= regions.count;
  });
  const auto region = regions_.find(*oldest);
  const std::size_t entry = region->second.entry;
  set_state(*oldest, State::closed);
  regions_.erase(region);
  return entry;
}

bool OpenRegions::any_is(const Regions& regions, State state) const {
  for (std::uint64_t i = 0; i < regions.count; ++i) {
    const auto found = regions_.find(regions.first + i);
    if (found != regions_.end() && found->second.state == state) return true;
  }
  return false;
}

void OpenRegions::set_state(std::uint64_t region, State state) {
  Region& changed = regions_.at(region);
  if (changed.state == State::settled) {
    changed.node.splice(changed.node.end(), settled_, changed.age);
  }
  changed.state = state;
  if (state == State::settled) settled_.splice(settled_.end(), changed.node, changed.age);
}

void OpenRegions::release(const Regions& regions) {
  const MutexLock lock(mutex_);
  for (std::uint64_t region = regions.first; region < regions.first + regions.count; ++region) {
    INVARIANT(regions_.at(region).holds > 0, region);
    --regions_.at(region).holds;
  }
  --held_;
  ++releases_;
  changed_.notify_all();
}

// --- Settling ---

OpenRegions::Quiet OpenRegions::quiet() const {
  Quiet quiet;
  const MutexLock lock(mutex_);
  for (const auto& [number, region] : regions_) {
    if (region.holds > 0 || region.state == State::settled) continue;
    quiet.emplace_back(number, region.changes);
  }
  return quiet;
}

void OpenRegions::settle(const Quiet& quiet) {
  const MutexLock lock(mutex_);
  for (;;) {
    const std::vector<Chosen> chosen = choose(quiet);
    if (!chosen.empty()) {
      const MutexUnlock unlocked(mutex_);
      settle_chosen(chosen);
      continue;
    }
    // Regions that another flush is settling are settled when that has ended. If it failed, this
    // one settles them.
    if (!any_untouched_is(quiet, State::settling)) return;
    changed_.wait(mutex_);
  }
}

// Returns whether the region has had no change since.
bool OpenRegions::is_untouched(const Region& region, std::uint64_t changes) {
  return region.holds == 0 && region.changes == changes;
}

bool OpenRegions::any_untouched_is(const Quiet& quiet, State state) const {
  for (const auto& [number, changes] : quiet) {
    const auto found = regions_.find(number);
    if (found != regions_.end() && is_untouched(found->second, changes) &&
        found->second.state == state) {
      return true;
    }
  }
  return false;
}

std::vector<OpenRegions::Chosen> OpenRegions::choose(const Quiet& quiet) {
  std::vector<Chosen> chosen;
  for (const auto& [number, changes] : quiet) {
    const auto found = regions_.find(number);
    if (found == regions_.end()) continue;
    Region& region = found->second;
    const bool may_be = region.state == State::open || region.state == State::closed;
    if (!may_be || !is_untouched(region, changes)) continue;
    chosen.push_back({number, region.entry, std::exchange(region.rewrite, false)});
    set_state(number, State::settling);
  }
  return chosen;
}

void OpenRegions::settle_chosen(const std::vector<Chosen>& chosen) {
  std::exception_ptr failure;
  try {
    for (const Chosen& each : chosen) {
      if (each.rewrite) rewrite_records(each.region);
      write_entry(each.entry, each.region, true);
    }
    sync();
  } catch (...) {
    failure = std::current_exception();
  }
  bool lost = false;
  {
    const MutexLock lock(mutex_);
    for (const Chosen& each : chosen) {
      Region& region = regions_.at(each.region);
      INVARIANT(region.state == State::settling, each.region);
      if (failure) region.rewrite = true;
      lost = lost || region.rewrite;
      set_state(each.region, region.rewrite ? State::closed : State::settled);
    }
    changed_.notify_all();
  }
  if (failure) std::rethrow_exception(failure);
  if (lost) throw Error(EIO, fmt::format("{}: a sync failed meanwhile", file_.path()));
}

// --- Syncing ---

// One caller at a time: the kernel reports a failure to one caller of sync, once, and then treats
// the pages that it could not write as clean. So after a failure only rewritten data is trusted to
// be on the disk.
void OpenRegions::sync() {
  MutexLock lock(mutex_);
  while (syncing_) changed_.wait(mutex_);
  syncing_ = true;
  lock.unlock();
  std::exception_ptr failure;
  try {
    file_.sync_data();
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  syncing_ = false;
  if (failure) {
    ++failed_syncs_;
    for (auto& [number, region] : regions_) {
      if (region.state != State::settled) region.rewrite = true;
    }
  }
  changed_.notify_all();
  lock.unlock();
  if (failure) std::rethrow_exception(failure);
}

void OpenRegions::rewrite_records(std::uint64_t region) const {
  const std::uint64_t offset = offset_of_record({region * kBlocksPerRegion});
  const std::uint64_t size = file_.size_bytes();
  if (offset >= size) return;
  std::vector<std::byte> records(std::min<std::uint64_t>(kRegion_bytes, size - offset));
  file_.read_at(records, offset);
  file_.write_at(records, offset);
}

void OpenRegions::wait_for_release() {
  const MutexLock lock(mutex_);
  const std::uint64_t before = releases_;
  while (held_ > 0 && releases_ == before) changed_.wait(mutex_);
}

}  // namespace nbdstack
