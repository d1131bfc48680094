// What the files of a cache directory say, put together.
//
// The newest snapshot is read, then the journals of its generation and later ones, which go on one
// after the other. Records are in order without a gap up to the end; there
//
//  - the journal ends, or goes on with something that is no record: a torn tail, as a crash leaves
//    it. All records up to there count.
//  - or records are missing that were durable once, as a later record says, or the note of the last
//    commit (commit_note.hpp): damage. The journal was damaged, cut, deleted, or is an older copy.
//
// What follows from damage, of the journal or of the snapshot:
//
//   the note says           what is left says     the start
//   nothing was dirty       nothing newer is      goes on with an empty cache; it is logged
//   anything else                                 is refused, and changes nothing (Error, EIO); with
//                                                 Damaged::salvage it goes on: dirty blocks that can
//                                                 be proven are kept and named in the log, what is
//                                                 clean is forgotten, what is missing is lost
//
// Slots are numbered from 0 on, and memory is needed for all up to the highest one. So a number is
// believed only where the cache can have come to it: no farther than the data files and one slot for
// each word about one reach, and kSlotsUnseen_max for slots that held zeros only, which no file has
// to speak of any more. A higher number is damage, whatever the checksum beside it says.
//
// Without damage, but where a snapshot says that there has to be a note and there is none that can
// be read: the journal is taken at its word, and that is logged.
//
// Records up to what the last commit record covers are true, if all of them are there: it was
// written after the content that they speak of had been synced. After them begins the tail
// (tail.hpp). A commit record can be on disk without all records before it, because both are synced
// together: that commit never returned, and does not count, and what is left of its records belongs
// to the tail. (Some of them may speak of content that others have overwritten.)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/directory.hpp"
#include "filters/cache/store/durable/index.hpp"
#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {

struct FoundFiles {
  std::uint64_t snapshot = 0;           // the newest one; 0: none
  std::uint64_t generation = 0;         // the highest of any file
  std::vector<std::uint64_t> journals;  // not older than the snapshot, ascending
};

inline constexpr std::uint64_t kSlotsUnseen_max = 1U << 20U;

FoundFiles find_files(const Directory& directory);
// Removes snapshots and journals of older generations.
void remove_before(Directory& directory, std::uint64_t generation);

struct LoadedIndex {
  std::uint64_t sequence = 0;  // of the last record that counts
  bool is_snapshot = false;    // an intact snapshot with nothing after it says the same
};

enum class Damaged : std::uint8_t { refuse, salvage };

// The committed state and the tail. Content is compared for what the tail names only, and, after
// damage, for what is kept.
LoadedIndex load_index(Directory& directory, const FoundFiles& found, const PageFiles& files,
                       Damaged damaged, SlotIndex& index);
// The state at the end of the journal before generation `before`, all of which is committed. Throws
// where that is not what the files say.
LoadedIndex load_committed(Directory& directory, std::uint64_t before, const PageFiles& files,
                           SlotIndex& index);

}  // namespace nbdstack
