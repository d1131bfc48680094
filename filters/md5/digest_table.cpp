#include "filters/md5/digest_table.hpp"

#include <algorithm>
#include <chrono>

#include "common/error.hpp"
#include "common/invariant.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

// An entry's expiry, which makes room, can be computed; an unpin cannot: hence the repeated checks.
constexpr Duration kWait_min = std::chrono::milliseconds(1);
constexpr Duration kWait_max = std::chrono::milliseconds(100);

}  // namespace

DigestTable::DigestTable(const Options& options, Clock& clock)
    : options_(options),
      retention_(options.cache_time > Duration::zero() ? options.cache_time
                                                       : options.min_write_delay),
      clock_(clock) {}

// --- Entries ---

// Returns no entry if it is idle and has expired.
DigestTable::Entries::iterator DigestTable::find_current(BlockNumber block) {
  const auto entry = entries_.find(block);
  if (entry == entries_.end() || entry->second.pins > 0 || !expires() ||
      !is_over(*entry->second.changed_at)) {
    return entry;
  }
  by_age_.erase({*entry->second.changed_at, block});
  entries_.erase(entry);
  return entries_.end();
}

bool DigestTable::is_over(TimePoint changed_at) const {
  return clock_.now() >= changed_at + retention_;
}

// Expired entries are useless, so all go; entries without expiry go only if that makes the room.
bool DigestTable::make_room(std::size_t limit) {
  while (entries_.size() >= limit && (expires() || entries_.size() == limit)) {
    if (by_age_.empty() || !is_over(by_age_.begin()->first)) return false;
    entries_.erase(by_age_.begin()->second);
    by_age_.erase(by_age_.begin());
  }
  return entries_.size() < limit;
}

// The node of the age index is made with the entry, so that release(), which destructors call,
// never allocates.
DigestTable::Entries::iterator DigestTable::create(BlockNumber block) {
  ByAge maker;
  maker.emplace(TimePoint{}, block);
  const auto entry = entries_.try_emplace(block).first;
  entry->second.age = maker.extract(maker.begin());
  return entry;
}

void DigestTable::pin(Entries::iterator entry, Pins& pins) {
  pins.blocks_.push_back(entry->first);
  if (entry->second.pins++ > 0 || !entry->second.age.empty()) return;
  entry->second.age = by_age_.extract({*entry->second.changed_at, entry->first});
}

void DigestTable::release(Entries::iterator entry) {
  Entry& released = entry->second;
  INVARIANT(released.pins > 0, entry->first.value);
  if (--released.pins > 0) return;
  if (!is_worth_keeping(released)) {
    entries_.erase(entry);
    return;
  }
  released.age.value().first = *released.changed_at;
  by_age_.insert(std::move(released.age));
}

bool DigestTable::is_worth_keeping(const Entry& entry) const {
  return (options_.keeps_written && entry.state == State::written) ||
         (entry.changed_at && options_.min_write_delay > Duration::zero());
}

void DigestTable::begin(Entry& entry, const PlannedBlock& planned) {
  INVARIANT(entry.state != State::writing, planned.block.value);  // its range is owned
  if (entry.state == State::unknown) entry.settled = planned.before;
  entry.state = State::writing;
  entry.coming_length = planned.length;
  entry.coming.reset();
}

void DigestTable::settle(Entry& entry, End end, TimePoint now) {
  INVARIANT(entry.state == State::writing && entry.pins > 0);
  if (end == End::failed) entry.settled.reset();
  if (end == End::succeeded) entry.settled = entry.coming;
  entry.coming.reset();
  entry.state = entry.settled ? State::written : State::unknown;
  if (end != End::undone || !entry.changed_at) entry.changed_at = now;
}

// Pins blocks from `first` on, with new entries for those without one, until there is no room.
std::uint64_t DigestTable::take(BlockNumber first, std::uint64_t count, std::size_t limit,
                                Pins& pins) {
  std::uint64_t taken = 0;
  pins.blocks_.reserve(std::min<std::uint64_t>(count, options_.capacity));
  for (; taken < count; ++taken) {
    const BlockNumber block{first.value + taken};
    auto entry = find_current(block);
    if (entry == entries_.end()) {
      if (!make_room(limit)) break;
      entry = create(block);
    }
    pin(entry, pins);
  }
  return taken;
}

// A trim may cover millions of blocks and a table hold thousands: visits the smaller set.
template <typename Visit>
void DigestTable::for_each_in(BlockNumber first, std::uint64_t count, Visit&& visit) const {
  if (count <= entries_.size()) {
    for (BlockNumber block = first; block.value < first.value + count; ++block) {
      const auto entry = entries_.find(block);
      if (entry != entries_.end()) visit(entry->first, entry->second);
    }
    return;
  }
  for (const auto& [block, entry] : entries_) {
    if (block >= first && block.value - first.value < count) visit(block, entry);
  }
}

// --- Reads ---

std::optional<Expectation> DigestTable::expectation_of(const Entry& entry, std::uint32_t length) {
  if (!entry.settled || entry.settled->length != length) return std::nullopt;
  Expectation expectation{.settled = entry.settled->digest};
  if (entry.state == State::writing) {
    if (entry.coming_length != length) return std::nullopt;
    if (entry.coming) expectation.coming = entry.coming->digest;
  }
  return expectation;
}

DigestTable::Watch DigestTable::watch(const Range& range, const BlockGeometry& geometry) {
  Watch watch{Pins(*this), {}};
  const MutexLock lock(mutex_);
  if (entries_.empty()) return watch;
  const BlockNumber last = geometry.block_at(range.end() - 1);
  for (BlockNumber block = geometry.block_at(range.offset); block <= last; ++block) {
    const auto entry = find_current(block);
    if (entry == entries_.end() || entry->second.state == State::unknown) continue;
    const auto expectation = expectation_of(entry->second, geometry.length_of(block));
    watch.blocks.emplace_back(block, expectation);
    if (expectation) pin(entry, watch.pins);
  }
  return watch;
}

std::optional<Md5Digest> DigestTable::remembered(BlockNumber block, std::uint32_t length) {
  const MutexLock lock(mutex_);
  const auto entry = find_current(block);
  if (entry == entries_.end() || entry->second.state != State::written ||
      entry->second.settled->length != length) {
    return std::nullopt;
  }
  return entry->second.settled->digest;
}

// --- Room ---

DigestTable::Reservation DigestTable::reserve(BlockNumber first, std::uint64_t count) {
  Reservation reservation{Pins(*this), 0};
  const TimePoint deadline = clock_.now() + retention_ + options_.longest_time_pinned;
  for (bool waited = false;; waited = true) {
    {
      const MutexLock lock(mutex_);
      reservation.blocks = take(first, count, options_.capacity, reservation.pins);
    }
    if (reservation.blocks > 0) return reservation;
    if (!waited) {
      log::debug(
          "md5: all {} blocks of the table are in use: the write of block {} waits for the "
          "oldest to expire (md5-cache-size, md5-cache-time)",
          options_.capacity, first.value);
    }
    if (!wait_for_room(deadline)) {
      reservation.blocks = count;
      return reservation;
    }
  }
}

// Returns false if waiting longer is useless.
bool DigestTable::wait_for_room(TimePoint deadline) {
  const TimePoint now = clock_.now();
  if (now >= deadline) {
    log::error(
        "md5: the table of {} blocks found no room for a write within md5-cache-time and "
        "md5-retry-time: it goes on and will not be verified; raise md5-cache-size",
        options_.capacity);
    return false;
  }
  Duration wait = kWait_max;
  {
    const MutexLock lock(mutex_);
    if (!by_age_.empty()) {
      wait = std::clamp(by_age_.begin()->first + retention_ - now, kWait_min, kWait_max);
    }
  }
  try {
    clock_.sleep_for(std::min(wait, deadline - now));
    return true;
  } catch (const Error& error) {
    // The server stops, or the client has disconnected: the write must not be lost for that.
    if (error.code() == ESHUTDOWN) return false;
    throw;
  }
}

DigestTable::Pins DigestTable::reserve_if_free(BlockNumber first, std::uint64_t count) {
  Pins pins(*this);
  const MutexLock lock(mutex_);
  take(first, count, (options_.capacity + 1) / 2, pins);
  return pins;
}

void DigestTable::unpin(const std::vector<BlockNumber>& blocks) {
  if (blocks.empty()) return;
  const MutexLock lock(mutex_);
  for (const BlockNumber block : blocks) release(entries_.find(block));
}

// --- Changes ---

std::vector<BlockNumber> DigestTable::entries_in(BlockNumber first, std::uint64_t count) const {
  std::vector<BlockNumber> blocks;
  const MutexLock lock(mutex_);
  for_each_in(first, count, [&](BlockNumber block, const Entry&) { blocks.push_back(block); });
  return blocks;
}

TimePoint DigestTable::may_change_at(BlockNumber first, std::uint64_t count) const {
  TimePoint latest{};
  const MutexLock lock(mutex_);
  for_each_in(first, count, [&](BlockNumber, const Entry& entry) {
    if (entry.changed_at) latest = std::max(latest, *entry.changed_at + options_.min_write_delay);
  });
  return latest;
}

DigestTable::Change::Change(DigestTable& table, const std::vector<PlannedBlock>& plan)
    : table_(table), pins_(table) {
  const MutexLock lock(table_.mutex_);
  pins_.blocks_.reserve(plan.size());
  for (const PlannedBlock& planned : plan) {
    const auto entry = table_.find_current(planned.block);
    if (entry == table_.entries_.end()) continue;
    table_.pin(entry, pins_);
    begin(entry->second, planned);
  }
}

void DigestTable::Change::announce(BlockNumber block, const Content& content) {
  const MutexLock lock(table_.mutex_);
  const auto entry = table_.entries_.find(block);
  if (entry != table_.entries_.end() && entry->second.state == State::writing) {
    entry->second.coming = content;
  }
}

DigestTable::Change::~Change() {
  const TimePoint now = table_.clock_.now();
  const MutexLock lock(table_.mutex_);
  for (const BlockNumber block : pins_.blocks_) {
    settle(table_.entries_.find(block)->second, end_, now);
  }
}

void DigestTable::forget_all() {
  const MutexLock lock(mutex_);
  for (auto& [block, entry] : entries_) {
    entry.settled.reset();
    entry.coming.reset();
    if (entry.state == State::written) entry.state = State::unknown;
  }
}

std::size_t DigestTable::size() const {
  const MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace nbdstack
