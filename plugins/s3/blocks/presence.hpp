// Which blocks of a volume have an object: by what is certain (presence_map.hpp), or else by asking
// the store.
//
// A block is stored, absent or unknown. Absence is a promise: such a block reads as zeros, is
// written over in part, and is not removed, all without a request. So it rests on proof:
//
//   source of knowledge                            makes a block
//   this server created the volume, and nobody     absent, all of them
//    has owned it before
//   the record that the last owner left when it    stored or absent, as it says; unknown where it
//    gave its lease back (block_record.hpp)         was not certain itself
//   a PUT or a removal of ours that succeeded      stored, absent
//   a GET of the object that says 404              absent; of a stored one: an error, not zeros
//   a listing of a directory of this machine, or   absent where it shows nothing; where it shows
//    of a service whose listings the user trusts    one, asked for when it is read
//   any other listing                              nothing. What it shows and the record does not
//                                                  know is unknown from then on; what it hides that
//                                                  is recorded as stored is said in the log
//
//   block      read           written in part   zeroed, trimmed    in extents
//   absent     zeros          one PUT           nothing is sent    hole
//   unknown    GET            GET, then PUT     removed            data
//   stored     GET            GET, then PUT     removed            data
//
// A listing is evidence of the whole: services show objects late, leave some out, or write names in
// another way than they were given. Even one that is proof is believed only when it shows an object
// that is known to be there, the witness.
//
// All this holds while nobody else may write to the volume. Without that nothing is certain: reads
// and partial writes ask, zeros and trims remove whatever they cover, and extents tell of holes
// only where listings are proof, or, for who only reads, by the record of the last owner after a look
// that nobody has written since.
//
// The listing in the background is begun at the start. It is a hint: when it fails, what is left
// stays unknown, and the store is asked.
//
// Any thread; nothing is locked while the store works.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "common/sync/stoppable_thread.hpp"
#include "plugins/s3/blocks/block_listing.hpp"
#include "plugins/s3/blocks/block_objects.hpp"
#include "plugins/s3/blocks/presence_map.hpp"

namespace nbdstack {

// Runs of blocks that have objects, or may have.
struct StoredRuns {
  std::vector<Range> runs;  // of block numbers, ascending
  BlockNumber known_to;     // nothing is said of what lies from here on
};

struct PresenceSettings {
  std::uint64_t block_count = 0;
  std::size_t requests = 1;  // of the listing, at a time
  std::shared_ptr<PresenceMap> map;
  // Where nobody owns the volume, what is certain as long as nobody has written it, which takes
  // requests to find out (unchanged_since.hpp): so it is asked about runs only. Null: nothing is.
  std::shared_ptr<PresenceMap> frozen{};
  std::string witness{};  // an object that every listing has to show; empty: none is known
};

class Presence {
 public:
  // `objects` outlives this. Starts the listing, unless the map is not in use: then nobody knows
  // who else writes.
  Presence(BlockObjects& objects, PresenceSettings settings);
  // The end waits for the requests of the listing that are under way.

  // Without asking the store; false also where it is not known.
  [[nodiscard]] bool is_absent(BlockNumber block) const { return map_.is_absent(block); }

  // The store has answered a GET that there is no such object. True: it must have had one, unless
  // somebody changes the block at this moment; the caller asks again while he owns it.
  [[nodiscard]] bool is_missed(BlockNumber block);
  // The same where the caller owns the block: throws Error(EIO) where there must be one.
  void check_not_missed(BlockNumber block);

  // The blocks of [first, end) that have to be removed to leave none, at most `limit` of them. The
  // caller owns the range.
  StoredBlocks to_remove(BlockNumber first, BlockNumber end, std::size_t limit);

  // What of [first, end) may be stored. Where that takes a listing, it ends after `limit` objects;
  // where it would take one of the whole volume, everything counts as stored.
  StoredRuns runs(BlockNumber first, BlockNumber end, std::size_t limit);

  // Around a change, which the caller owns the blocks for.
  void change(std::span<const BlockNumber> blocks) { map_.change(blocks); }
  void stored(BlockNumber block) { map_.stored(block); }
  void removed(std::span<const BlockNumber> blocks) { map_.removed(blocks); }

  // The listing has ended, one way or the other.
  void wait_until_listed();

 private:
  bool listings_are_proof();
  StoredBlocks ask(BlockNumber first, BlockNumber end, std::size_t limit);
  void list();
  void learn(const ListedBlocks& listed);
  void say_contradictions() const;
  [[nodiscard]] std::string name_of(BlockNumber block) const {
    return objects_.format().name_of(block);
  }

  // What a listing that is no proof said against the record; of the thread that lists.
  struct Doubts {
    std::uint64_t recorded = 0;
    std::uint64_t confirmed = 0;
    std::uint64_t unexpected = 0;
    BlockNumber example{};  // of what was not expected
  };

  BlockObjects& objects_;
  const PresenceSettings settings_;
  PresenceMap& map_;
  Doubts doubts_;
  std::once_flag judged_;
  bool are_proof_ = false;  // from judged_ on
  std::mutex mutex_;        // protects listed_
  std::condition_variable has_listed_;
  bool listed_ = false;
  StoppableThread lister_;  // last: it uses all of the above
};

}  // namespace nbdstack
