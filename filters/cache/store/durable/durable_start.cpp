// DurableStore: opening it, and the writes of a start.
#include <algorithm>
#include <utility>

#include "common/io/lack_of_room.hpp"
#include "common/log.hpp"
#include "filters/cache/store/durable/durable_store.hpp"
#include "filters/cache/store/durable/index.hpp"
#include "filters/cache/store/durable/index_survey.hpp"
#include "filters/cache/store/durable/recovery.hpp"
#include "filters/cache/store/durable/snapshot.hpp"

namespace nbdstack {
namespace {

// For a start on a full disk: the clean blocks removed at once, and the size of all small files.
constexpr std::size_t kGivenBack_slots = 16;
constexpr std::uint64_t kRoomToStart_bytes = 64U << 10U;
constexpr std::uint64_t kShortestJournal_bytes = 16U << 20U;

}  // namespace

struct DurableStore::Loaded {
  SlotIndex index;
  FoundFiles found;
  LoadedIndex state;
};

DurableStore::DurableStore(std::unique_ptr<Directory> directory, std::uint32_t block_size,
                           std::uint64_t disk_size_bytes, Damaged damaged,
                           std::shared_ptr<const UnitCipher> cipher)
    : directory_(std::move(directory)),
      geometry_(disk_size_bytes, block_size),
      files_(*directory_, block_size, std::move(cipher)),
      damaged_(damaged),
      shortest_journal_bytes_(kShortestJournal_bytes),
      marks_(files_.pages().pages_per_block()) {}

DurableStore::~DurableStore() = default;

void DurableStore::load() {
  auto loaded = std::make_unique<Loaded>(Loaded{SlotIndex(geometry_), find_files(*directory_), {}});
  loaded->state = load_index(*directory_, loaded->found, files_, damaged_, loaded->index);
  loaded_ = std::move(loaded);
}

bool DurableStore::holds_unwritten() const {
  return survey_of(loaded_->index).unwritten_bytes != 0;
}

// The recovered state is written anew before anything is changed: a tail is judged only once. Its
// content has been read, not synced, so that comes first. The note exists before a snapshot
// requires it, and describes the new snapshot only when that is durable.
Recovered DurableStore::recover() {
  if (loaded_ == nullptr) load();
  const std::unique_ptr<Loaded> all = std::move(loaded_);
  SlotIndex& index = all->index;
  const FoundFiles& found = all->found;
  const LoadedIndex& loaded = all->state;
  const Keep keep = inspect_ ? inspect_(index, files_) : Keep::all;
  switch (keep) {
    case Keep::all:
      break;
    case Keep::dirty:
      drop_clean(index, files_);
      break;
    case Keep::nothing:
      index = SlotIndex(geometry_);
      break;
  }
  with_room(index, [&] { note_ = std::make_unique<CommitNote>(*directory_); });
  std::uint64_t generation = found.snapshot;
  if (!loaded.is_snapshot || keep != Keep::all) {
    files_.sync_first();
    files_.sync_second();
    note_->sync();
    directory_->sync();
    generation = found.generation + 1;
    with_room(index, [&] {
      write_snapshot(*directory_, index, index.order(), generation, loaded.sequence);
    });
    remove_before(*directory_, generation);
  }
  with_room(index, [&] {
    journal_ = std::make_unique<Journal>(*directory_, generation, loaded.sequence);
  });
  directory_->sync();
  punch_unused(index);
  Recovered recovered = take_over(index, loaded.sequence);
  const bool anything_dirty =
      !recovered.zeros.empty() ||
      std::any_of(recovered.blocks.begin(), recovered.blocks.end(),
                  [](const RecoveredBlock& block) { return block.pages.dirty != 0; });
  note_->write({loaded.sequence, anything_dirty});
  note_->sync();
  return recovered;
}

// If the disk is full, clean blocks make room: their checksums show that their entries in an older
// index are wrong.
void DurableStore::with_room(SlotIndex& index, const std::function<void()>& write) {
  while (true) {
    try {
      write();
      return;
    } catch (const Error& error) {
      if (!is_for_lack_of_room(error)) throw;
      if (give_back_clean(index)) continue;
      throw Error(error.code(),
                  fmt::format("{}: the cache cannot be opened without some room on the file system "
                              "of {}: free {} bytes there; nothing in it has been lost",
                              error.what(), directory_->path(),
                              kRoomToStart_bytes + std::uint64_t{index.slots()} * 64));
    }
  }
}

bool DurableStore::give_back_clean(SlotIndex& index) {
  std::size_t given_back = 0;
  for (const Slot slot : index.order()) {
    SlotIndex::Entry& entry = index[slot];
    if (entry.pages.dirty != 0) continue;
    files_.punch(slot, false);
    if (entry.copies != 0) files_.punch(slot, true);
    entry = {};
    if (++given_back == kGivenBack_slots) break;
  }
  if (given_back > 0) {
    log::error("cache: the disk of {} is full: {} clean blocks give their storage back",
               directory_->path(), given_back);
  }
  return given_back > 0;
}

Recovered DurableStore::take_over(const SlotIndex& index, std::uint64_t committed_sequence) {
  const MutexLock lock(mutex_);
  committed_sequence_ = committed_sequence;
  Recovered recovered;
  for (const Slot slot : index.order()) {
    const SlotIndex::Entry& entry = index[slot];
    marks_.set_checksum(slot, entry.checksum);
    marks_.set_copies(slot, entry.copies);
    marks_.set_dirty(slot, entry.pages.dirty);
    marks_.set_use(slot, SlotUse::named);
    marks_.set_held(slot, entry.pages.dirty != 0);
    if (entry.copies != 0) second_.insert(slot);
    recovered.blocks.push_back({slot, entry.block, entry.pages});
    recovered.slots = std::max(recovered.slots, slot + 1);
  }
  for (const auto& run : index.zeros().overlapping({0, geometry_.size_bytes()})) {
    recovered.zeros.push_back({run.range, run.value});
    zeros_.assign(run.range, true);
  }
  snapshot_bytes_ =
      std::uint64_t{recovered.blocks.size()} * (files_.pages().pages_per_block() <= 16 ? 32 : 64);
  return recovered;
}

// Second places that no block uses, and slots behind the last one, as a crash leaves them.
void DurableStore::punch_unused(const SlotIndex& index) {
  const Slot seconds = files_.second_slots();
  for (Slot slot = 0; slot < seconds; ++slot) {
    const bool used = slot < index.slots() && index[slot].in_use && index[slot].copies != 0;
    if (!used) files_.punch(slot, true);
  }
  Slot last = 0;
  for (Slot slot = 0; slot < index.slots(); ++slot) {
    if (index[slot].in_use) last = slot + 1;
  }
  files_.punch_behind(last);
}

}  // namespace nbdstack
