// Builds the index from the files of a cache directory.
//
// The newest snapshot is read, then the journals of its generation and of later ones, each of which
// continues the one before. Records are in order without a gap up to a point where
//
//  - the journal ends, or continues with bytes that are no record: a torn tail, as a crash leaves
//    it. All records up to there count.
//  - or records are missing that were durable once, according to a later record or to the note of
//    the last commit (commit_note.hpp): damage. The journal was damaged, cut, deleted, or is an
//    older copy.
//
// After damage of the journal or of the snapshot:
//
//   according to the note  and to what is left  the start
//   nothing was dirty      nothing newer is     continues with an empty cache; it is logged
//   anything else                               is refused, and changes nothing (Error, EIO); with
//                                               Damaged::salvage it continues: dirty blocks that
//                                               can be proven are kept and named in the log, clean
//                                               blocks are forgotten, missing ones are lost
//
// Slots are numbered from 0 on, and memory is needed for all up to the highest one. So a number is
// accepted only if the cache can have reached it: the limit is what the data files reach, plus one
// slot for each record or entry about one, plus kSlotsUnseen_max for slots that contained zeros
// only, which may appear in no file any more. A higher number is damage, whatever its checksum.
//
// If there is no damage, but a snapshot requires a note and none can be read, the journal is
// trusted, and that is logged.
//
// Records up to those that the last commit record covers are true, if all of them are present: it
// was written after their content had been synced. The tail begins after them (tail.hpp). A commit
// record can be on disk without all records before it, because both are synced together: that
// commit never returned, and does not count, and what is left of its records belongs to the tail.
// (Some of them may be about content that others have overwritten.)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/directory.hpp"
#include "filters/cache/store/durable/index.hpp"
#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {

struct FoundFiles {
  std::uint64_t snapshot = 0;           // the newest one; 0 if there is none
  std::uint64_t generation = 0;         // the highest of any file
  std::vector<std::uint64_t> journals;  // not older than the snapshot, ascending
};

inline constexpr std::uint64_t kSlotsUnseen_max = 1U << 20U;

FoundFiles find_files(const Directory& directory);
// Removes snapshots and journals of older generations.
void remove_before(Directory& directory, std::uint64_t generation);

struct LoadedIndex {
  std::uint64_t sequence = 0;  // of the last record that counts
  bool is_snapshot = false;    // an intact snapshot contains the same, and nothing follows it
};

enum class Damaged : std::uint8_t { refuse, salvage };

// Loads the committed state and the tail. Content is compared with its checksums only for what the
// tail names, and, after damage, for what is kept.
LoadedIndex load_index(Directory& directory, const FoundFiles& found, const PageFiles& files,
                       Damaged damaged, SlotIndex& index);
// Loads the state at the end of the journal before generation `before`, all of which is committed.
// Throws if the files do not contain that.
LoadedIndex load_committed(Directory& directory, std::uint64_t before, const PageFiles& files,
                           SlotIndex& index);

}  // namespace nbdstack
