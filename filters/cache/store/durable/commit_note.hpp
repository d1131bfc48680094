// The note of the last commit: records the end of the journal in another file than the journal.
//
// A journal that was cut, deleted, or replaced by an older copy of itself looks like one after a
// crash. So each commit, before it returns, writes its number to the file `committed`, and a start
// that finds less in the journal detects that something is missing. It also knows whether that
// matters: whether something was dirty then.
//
// The commit does not sync the note: that would cost a flush one more sync. Starts and stops sync
// it, and so does the background in between (sync()). A note that a power loss has set back is
// still true, but proves less: DurableStore's header has the consequences.
//
// The file has two places, 512 bytes apart, which are written in turn, so that one of them is whole
// whatever happens to the other. Numbers are in the machine's byte order.
//
//   bytes 0-7    checksum of all that follows
//   bytes 8-15   magic, with the format's number
//   bytes 16-23  turn: the place with the higher one counts
//   bytes 24-31  sequence of the last committed record
//   bytes 32-39  1 if some block or range was dirty then, else 0
#pragma once

#include <cstdint>
#include <memory>

#include "common/io/directory.hpp"

namespace nbdstack {

class CommitNote {
 public:
  static constexpr const char* kName = "committed";

  struct Commit {
    std::uint64_t sequence = 0;
    bool anything_dirty = true;
  };
  struct Found {
    bool exists = false;
    bool damaged = false;  // one place is, or both are
    Commit commit;         // the default, which proves nothing, if none can be read
  };
  // Changes nothing.
  static Found read(Directory& directory);

  // Creates the file if there is none. It is durable after sync() and the directory's sync().
  explicit CommitNote(Directory& directory);

  // Called by one thread at a time.
  void write(const Commit& commit);
  void sync() { file_->sync_data(); }

 private:
  std::unique_ptr<StorageFile> file_;
  std::uint64_t turn_ = 0;
};

}  // namespace nbdstack
