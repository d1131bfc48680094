#include "filters/cache/durable/recovery.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/cache/durable/journal.hpp"
#include "filters/cache/durable/snapshot.hpp"
#include "filters/cache/durable/tail.hpp"

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
  std::uint64_t generation;
  std::string path;
  std::vector<std::byte> bytes;
};

std::vector<JournalBytes> read_journals(Directory& directory,
                                        const std::vector<std::uint64_t>& generations) {
  std::vector<JournalBytes> journals;
  for (const std::uint64_t generation : generations) {
    const auto file = directory.open(Journal::name_of(generation));
    JournalBytes journal{generation, file->path(), std::vector<std::byte>(file->size_bytes())};
    file->read_at(journal.bytes, 0);
    journals.push_back(std::move(journal));
  }
  return journals;
}

// Calls fn(record) for each intact record, whatever lies between them.
template <typename Fn>
void for_each_record(const std::vector<JournalBytes>& journals, Fn&& fn) {
  for (const JournalBytes& journal : journals) {
    const std::span<const std::byte> bytes(journal.bytes);
    for (std::size_t at = 0; at + kRecordAlignment <= bytes.size();) {
      const auto decoded = decode(bytes.subspan(at), journal.generation);
      if (!decoded) {
        at += kRecordAlignment;
        continue;
      }
      fn(decoded->record);
      at += decoded->length;
    }
  }
}

// Where the records of the journals stop following each other.
struct Survey {
  std::uint64_t contiguous = 0;  // the last one before anything is missing
  std::uint64_t committed = 0;   // the last one that a commit record covers with all before it
  std::uint64_t promised = 0;    // the last one that any commit record covers
  std::uint64_t durable = 0;     // the last one that is known to have been durable
  std::uint64_t last = 0;
};

Survey survey(const std::vector<JournalBytes>& journals, std::uint64_t first) {
  Survey result{first, first, first, first, first};
  for_each_record(journals, [&](const Record& record) {
    result.durable = std::max(result.durable, record.durable_sequence);
    if (record.kind == Record::Kind::commit) {
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

// The checksum of a block speaks of all its stored pages: before the clean ones go, the others are
// compared with it.
void forget_clean(SlotIndex& index, const PageFiles& files) {
  std::size_t dirty = 0;
  for (Slot slot = 0; slot < index.slots(); ++slot) {
    SlotIndex::Entry& entry = index[slot];
    if (!entry.in_use) continue;
    if (entry.pages.dirty == 0) {
      entry = {};
      continue;
    }
    constexpr std::size_t kMostNamed = 100;
    if (++dirty <= kMostNamed) {
      log::error("cache: the block at offset {} was dirty before the damage: it is kept as it was",
                 index.geometry().offset_of(entry.block));
    }
    const PageMask stored = entry.pages.stored();
    const PageMask clean = stored & ~entry.pages.dirty;
    if (clean == 0) continue;
    if (combined(files.checksums(slot, stored, entry.copies)) == entry.checksum) {
      entry.checksum ^= combined(files.checksums(slot, clean, entry.copies));
      entry.pages.valid &= ~clean;
    } else {
      lose_stored(entry);
    }
  }
  log::error("cache: {} dirty blocks are kept as they were before the damage", dirty);
}

void replay(const std::vector<JournalBytes>& journals, const Survey& found, bool damaged,
            SlotIndex& index, const PageFiles& files) {
  Tail tail(index, files);
  for_each_record(journals, [&](const Record& record) {
    if (record.kind == Record::Kind::commit) return;
    if (record.sequence > found.contiguous && !damaged) return;
    if (record.sequence <= (damaged ? found.promised : found.committed)) {
      index.apply(record);
    } else {
      tail.apply(record);
    }
  });
  tail.finish();
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
                       SlotIndex& index) {
  SnapshotState snapshot{.sequence = 0, .intact = true, .readable = true};
  if (found.snapshot != 0) snapshot = read_snapshot(directory, found.snapshot, index);
  const auto journals = read_journals(directory, found.journals);
  if (!snapshot.readable && !journals.empty()) {
    for_each_record(journals, [&](const Record& record) {
      if (snapshot.sequence == 0) snapshot.sequence = record.sequence - 1;
    });
  }
  const Survey survey_result = survey(journals, snapshot.sequence);
  const bool damaged = survey_result.durable > survey_result.contiguous;
  if (damaged) {
    log::error(
        "cache: the journal in {} is damaged: changes {} to {} are missing or out of order; "
        "what is clean is read again from below",
        directory.path(), survey_result.contiguous + 1, survey_result.durable);
  } else if (survey_result.promised > survey_result.committed) {
    log::error(
        "cache: the last commit in {} did not reach the disk whole: its changes count as "
        "not flushed",
        directory.path());
  }
  replay(journals, survey_result, damaged, index, files);
  index.settle();
  if (damaged) forget_clean(index, files);
  return {.sequence = std::max(survey_result.last, survey_result.durable),
          .is_snapshot = found.snapshot != 0 && snapshot.intact &&
                         survey_result.last == snapshot.sequence && !damaged};
}

LoadedIndex load_committed(Directory& directory, std::uint64_t before, SlotIndex& index) {
  FoundFiles found = find_files(directory);
  std::erase_if(found.journals, [&](std::uint64_t journal) { return journal >= before; });
  SnapshotState snapshot{.sequence = 0, .intact = true, .readable = true};
  if (found.snapshot != 0) snapshot = read_snapshot(directory, found.snapshot, index);
  const auto journals = read_journals(directory, found.journals);
  const Survey survey_result = survey(journals, snapshot.sequence);
  if (!snapshot.intact || survey_result.contiguous != survey_result.last ||
      survey_result.committed != survey_result.last) {
    throw Error(EIO, fmt::format("the index in {} cannot be read back", directory.path()));
  }
  for_each_record(journals, [&](const Record& record) { index.apply(record); });
  index.settle();
  return {.sequence = survey_result.last, .is_snapshot = false};
}

}  // namespace nbdstack
