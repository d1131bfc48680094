// The note of the last commit: where the journal ends, told by another file than the journal.
//
// A journal that was cut, deleted, or replaced by an older copy of itself looks like one that a
// crash has left. So after each commit, before it returns, its number goes into the file
// `committed`, and a start that finds less in the journal knows that something is missing. It also
// knows whether there was anything to be missed: whether something was dirty then.
//
// The note is not synced by the commit: that would cost a flush one sync more. It is synced at
// starts and stops, and now and then in between (sync()). A note that a power loss has set back is
// still true, it only says less: DurableStore's header has what follows from that.
//
// The file: two places, 512 bytes apart, which are written in turn, so that one of them is whole
// whatever happens to the other. Numbers are in the machine's byte order.
//
//   bytes 0-7    checksum of all that follows
//   bytes 8-15   magic, with the format's number
//   bytes 16-23  turn: the place with the higher one counts
//   bytes 24-31  sequence of the last record that is committed
//   bytes 32-39  1: some block or range was dirty then; 0: nothing was
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
    Commit commit;         // the default, which claims nothing, where none can be read
  };
  // Changes nothing.
  static Found read(Directory& directory);

  // Creates the file where there is none. Durable after sync() and the directory's.
  explicit CommitNote(Directory& directory);

  // One caller at a time.
  void write(const Commit& commit);
  void sync() { file_->sync_data(); }

 private:
  std::unique_ptr<StorageFile> file_;
  std::uint64_t turn_ = 0;
};

}  // namespace nbdstack
