#include "filters/cache/store/durable/recovery.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/cache/store/durable/commit_note.hpp"
#include "filters/cache/store/durable/index_survey.hpp"
#include "filters/cache/store/durable/journal.hpp"
#include "filters/cache/store/durable/snapshot.hpp"
#include "filters/cache/store/durable/tail.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kRecordAlignment = 8;

std::optional<std::uint64_t> generation_in(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (failure != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

struct JournalBytes {
  BlockGeometry geometry;
  std::uint64_t generation;
  std::string path;
  std::vector<std::byte> bytes;
  Slot slots_end;

  [[nodiscard]] bool is_possible(const Record& record) const {
    const auto slot = record.slot();
    return !slot || *slot < slots_end;
  }
};

// Returns a bound of the number of records or entries about slots in a journal or a snapshot.
std::uint64_t words_of(Directory& directory, const std::string& name) {
  constexpr std::uint64_t kShortestWord_bytes = 32;
  return directory.open(name)->size_bytes() / kShortestWord_bytes;
}

Slot end_of_slots(Directory& directory, const FoundFiles& found, const PageFiles& files) {
  std::uint64_t end = files.slots() + kSlotsUnseen_max;
  if (found.snapshot != 0) end += words_of(directory, snapshot_name(found.snapshot));
  for (const std::uint64_t generation : found.journals) {
    end += words_of(directory, Journal::name_of(generation));
  }
  return static_cast<Slot>(std::min<std::uint64_t>(end, kNoSlot));
}

std::vector<JournalBytes> read_journals(Directory& directory, const BlockGeometry& geometry,
                                        Slot slots_end,
                                        const std::vector<std::uint64_t>& generations) {
  std::vector<JournalBytes> journals;
  for (const std::uint64_t generation : generations) {
    const auto file = directory.open(Journal::name_of(generation));
    JournalBytes journal{geometry, generation, file->path(),
                         std::vector<std::byte>(file->size_bytes()), slots_end};
    file->read_at(journal.bytes, 0);
    journals.push_back(std::move(journal));
  }
  return journals;
}

// Calls fn(journal, record) for each intact record, with any bytes in between.
template <typename Fn>
void for_each_intact(const std::vector<JournalBytes>& journals, Fn&& fn) {
  for (const JournalBytes& journal : journals) {
    const std::span<const std::byte> bytes(journal.bytes);
    for (std::size_t at = 0; at + kRecordAlignment <= bytes.size();) {
      const auto decoded = decode(bytes.subspan(at), journal.generation, journal.geometry);
      if (!decoded) {
        at += kRecordAlignment;
        continue;
      }
      fn(journal, decoded->record);
      at += decoded->length;
    }
  }
}

// Likewise, without impossible records.
template <typename Fn>
void for_each_record(const std::vector<JournalBytes>& journals, Fn&& fn) {
  for_each_intact(journals, [&](const JournalBytes& journal, const Record& record) {
    if (journal.is_possible(record)) fn(record);
  });
}

// The places in the journals up to which the sequence of records is complete.
struct Survey {
  std::uint64_t first = 0;       // the last record in the snapshot
  std::uint64_t contiguous = 0;  // the last one before anything is missing
  std::uint64_t committed = 0;   // the last one that a commit record covers with all before it
  std::uint64_t promised = 0;    // the last one that any commit record covers
  std::uint64_t durable = 0;     // the last one that is known to have been durable
  std::uint64_t last = 0;
  std::string impossible{};  // the description of an impossible slot; empty if none
};

Survey survey(const std::vector<JournalBytes>& journals, std::uint64_t first) {
  Survey result{first, first, first, first, first, first};
  for_each_intact(journals, [&](const JournalBytes& journal, const Record& record) {
    if (!journal.is_possible(record)) {
      result.impossible = fmt::format(
          "{} is damaged: it speaks of slot {}, where this cache can "
          "have {}",
          journal.path, *record.slot(), journal.slots_end);
      return;
    }
    result.durable = std::max(result.durable, record.durable_sequence);
    if (record.is<record::Commit>()) {
      result.promised = std::max(result.promised, record.sequence);
      if (record.sequence <= result.contiguous) {
        result.committed = std::max(result.committed, record.sequence);
      }
      return;
    }
    if (record.sequence == result.contiguous + 1) result.contiguous = record.sequence;
    result.last = std::max(result.last, record.sequence);
  });
  return result;
}

void keep_dirty(SlotIndex& index, const PageFiles& files) {
  constexpr std::size_t kMostNamed = 100;
  std::size_t dirty = 0;
  for (Slot slot = 0; slot < index.slots(); ++slot) {
    const SlotIndex::Entry& entry = index[slot];
    if (!entry.in_use || entry.pages.dirty == 0 || ++dirty > kMostNamed) continue;
    log::error("cache: the block at offset {} was dirty before the damage: it is kept as it was",
               index.geometry().offset_of(entry.block));
  }
  drop_clean(index, files);
  log::error("cache: {} dirty blocks are kept as they were before the damage", dirty);
}

void replay(const std::vector<JournalBytes>& journals, const Survey& found, bool damaged,
            SlotIndex& index, const PageFiles& files) {
  Tail tail(index, files);
  for_each_record(journals, [&](const Record& record) {
    if (record.is<record::Commit>() || record.sequence <= found.first) return;
    if (record.sequence > found.contiguous && !damaged) return;
    if (record.sequence <= (damaged ? found.promised : found.committed)) {
      index.apply(record);
    } else {
      tail.apply(record);
    }
  });
  tail.finish();
}

// The note of the last commit counts like a commit record.
Survey survey_with(const CommitNote::Found& note, const std::vector<JournalBytes>& journals,
                   std::uint64_t first) {
  Survey result = survey(journals, first);
  const std::uint64_t noted = note.commit.sequence;
  result.durable = std::max(result.durable, noted);
  result.promised = std::max(result.promised, noted);
  if (noted <= result.contiguous) result.committed = std::max(result.committed, noted);
  return result;
}

void look_for_gaps(const Directory& directory, const Survey& found,
                   std::vector<std::string>& damage) {
  if (!found.impossible.empty()) damage.push_back(found.impossible);
  if (found.durable > found.contiguous) {
    damage.push_back(
        fmt::format("the journal in {} is damaged, cut short, gone, or an older copy: "
                    "changes {} to {} were durable, and some or all are missing",
                    directory.path(), found.contiguous + 1, found.durable));
  } else if (found.promised > found.committed) {
    log::error(
        "cache: the last commit in {} did not reach the disk whole: its changes count as "
        "not flushed",
        directory.path());
  }
}

// Returns whether everything dirty had been written back at the last commit, and no remaining
// record is about something dirty since.
bool nothing_is_missed(const CommitNote::Found& note, const std::vector<JournalBytes>& journals) {
  if (!note.exists || note.damaged || note.commit.anything_dirty) return false;
  bool is_newer_dirty = false;
  for_each_intact(journals, [&](const JournalBytes& /*journal*/, const Record& record) {
    const auto* const wrote = std::get_if<record::Wrote>(&record.event);
    const bool makes_dirty = (wrote != nullptr && wrote->dirty) || record.is<record::Rewrote>() ||
                             record.is<record::Zeroed>() || record.is<record::ZerosAdded>();
    if (makes_dirty && record.sequence > note.commit.sequence) is_newer_dirty = true;
  });
  return !is_newer_dirty;
}

Error refusal(const Directory& directory, const std::vector<std::string>& damage,
              const SlotIndex& index) {
  std::uint64_t dirty_bytes = 0;
  for (Slot slot = 0; slot < index.slots(); ++slot) {
    if (index[slot].pages.dirty != 0) dirty_bytes += index.geometry().block_size();
  }
  for (const auto& run : index.zeros().overlapping({0, index.geometry().size_bytes()})) {
    dirty_bytes += run.range.length;
  }
  return Error(
      EIO, fmt::format("cache: {}. What is missing may have been flushed by a client, so the cache "
                       "is not used, and nothing in it has been changed. Put back what was there; "
                       "or start with cache-salvage=true, which keeps the dirty blocks that are "
                       "left ({} bytes), as far as they can be proven, and reads all else from the "
                       "plugin; or remove the files in {} to discard everything in it",
                       fmt::join(damage, "; "), dirty_bytes, directory.path()));
}

}  // namespace

FoundFiles find_files(const Directory& directory) {
  FoundFiles found;
  for (const std::string& name : directory.names()) {
    if (const auto snapshot = generation_in(name, "index.")) {
      found.snapshot = std::max(found.snapshot, *snapshot);
      found.generation = std::max(found.generation, *snapshot);
    } else if (const auto journal = generation_in(name, "journal.")) {
      found.journals.push_back(*journal);
      found.generation = std::max(found.generation, *journal);
    }
  }
  std::erase_if(found.journals, [&](std::uint64_t journal) { return journal < found.snapshot; });
  std::sort(found.journals.begin(), found.journals.end());
  return found;
}

void remove_before(Directory& directory, std::uint64_t generation) {
  for (const std::string& name : directory.names()) {
    auto number = generation_in(name, "index.");
    if (!number) number = generation_in(name, "journal.");
    if (number && *number < generation) directory.remove(name);
  }
}

LoadedIndex load_index(Directory& directory, const FoundFiles& found, const PageFiles& files,
                       Damaged damaged, SlotIndex& index) {
  const Slot slots_end = end_of_slots(directory, found, files);
  index.expect_slots_below(slots_end);
  std::vector<std::string> damage;
  SnapshotState snapshot{.sequence = 0, .intact = true, .readable = true, .has_note = false};
  if (found.snapshot != 0) snapshot = read_snapshot(directory, found.snapshot, index, damage);
  const auto journals = read_journals(directory, index.geometry(), slots_end, found.journals);
  if (!snapshot.readable && !journals.empty()) {
    for_each_record(journals, [&](const Record& record) {
      if (snapshot.sequence == 0) snapshot.sequence = record.sequence - 1;
    });
  }
  const CommitNote::Found note = CommitNote::read(directory);
  const Survey survey_result = survey_with(note, journals, snapshot.sequence);
  look_for_gaps(directory, survey_result, damage);
  if (damage.empty() && snapshot.has_note && (!note.exists || note.damaged)) {
    log::error("cache: {}/{} is missing or damaged: the journal beside it is taken to be whole",
               directory.path(), CommitNote::kName);
  }
  LoadedIndex loaded{.sequence = std::max(survey_result.last, survey_result.durable),
                     .is_snapshot = found.snapshot != 0 && snapshot.has_note && damage.empty() &&
                                    survey_result.last == snapshot.sequence};
  if (!damage.empty() && nothing_is_missed(note, journals)) {
    log::error("cache: {}. Nothing in {} waited to be written back: it starts empty",
               fmt::join(damage, "; "), directory.path());
    index.clear();
    return loaded;
  }
  replay(journals, survey_result, !damage.empty(), index, files);
  index.settle();
  if (damage.empty()) return loaded;
  if (damaged == Damaged::refuse) throw refusal(directory, damage, index);
  log::error(
      "cache: {}. What is dirty is kept as far as it can be proven, as cache-salvage asks; "
      "what is missing is LOST",
      fmt::join(damage, "; "));
  keep_dirty(index, files);
  return loaded;
}

LoadedIndex load_committed(Directory& directory, std::uint64_t before, const PageFiles& files,
                           SlotIndex& index) {
  FoundFiles found = find_files(directory);
  std::erase_if(found.journals, [&](std::uint64_t journal) { return journal >= before; });
  const Slot slots_end = end_of_slots(directory, found, files);
  index.expect_slots_below(slots_end);
  SnapshotState snapshot{.sequence = 0, .intact = true, .readable = true, .has_note = false};
  std::vector<std::string> damage;
  if (found.snapshot != 0) snapshot = read_snapshot(directory, found.snapshot, index, damage);
  const auto journals = read_journals(directory, index.geometry(), slots_end, found.journals);
  const Survey survey_result = survey(journals, snapshot.sequence);
  if (!snapshot.intact || !survey_result.impossible.empty() ||
      survey_result.contiguous != survey_result.last ||
      survey_result.committed != survey_result.last) {
    throw Error(EIO, fmt::format("the index in {} cannot be read back", directory.path()));
  }
  for_each_record(journals, [&](const Record& record) { index.apply(record); });
  index.settle();
  return {.sequence = survey_result.last, .is_snapshot = false};
}

}  // namespace nbdstack
