// Determines which blocks of a volume have an object, from the map of certain knowledge
// (presence_map.hpp) or from the store.
//
// A block is stored, absent or unknown. Absence is a promise: such a block reads as zeros and is
// not removed, both without a request, and a part of it is written without a GET. So it rests on
// proof:
//
//   source of knowledge                            makes a block
//   this server created the volume, which had      absent, all of them
//    no owner before
//   the record that the last owner left when it    stored or absent, as recorded; unknown if the
//    released its lease (block_record.hpp)          owner was not certain
//   a PUT or a removal of ours that succeeded      stored, absent
//   a GET of the object that is answered by 404    absent; of a stored one: an error, not zeros
//   a listing of a directory of this machine, or   absent if not listed; if listed, the store is
//    of a service whose listings the user trusts    queried when the block is read
//   any other listing                              unknown, if it is listed and recorded as absent.
//                                                  Blocks that are recorded as stored and not
//                                                  listed are logged, no more
//
//   block      read           written in part   zeroed, trimmed    in extents
//   absent     zeros          one PUT           nothing is sent    hole
//   unknown    GET            GET, then PUT     removed            data
//   stored     GET            GET, then PUT     removed            data
//
// Listings in general are no proof: services show objects late, leave some out, or write names in
// another way than they were given. Even one that is proof is believed only if it shows an object
// that is known to exist, the witness.
//
// All this holds while no other server may write to the volume. Otherwise nothing is certain: reads
// and partial writes query the store, zeros and trims remove all blocks that they cover, and
// extents show holes only if listings are proof, or, to a read-only server, by the record of the
// last owner after a check that no server has written since.
//
// A listing in the background begins at the start. It is a hint: if it fails, the rest stays
// unknown, and the store is queried.
//
// May be used by any thread; no mutex is held during a request to the store.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "common/sync/mutex.hpp"
#include "common/sync/stoppable_thread.hpp"
#include "plugins/s3/blocks/block_listing.hpp"
#include "plugins/s3/blocks/block_objects.hpp"
#include "plugins/s3/blocks/presence_map.hpp"

namespace nbdstack {

// Runs of blocks that have objects, or may have.
struct StoredRuns {
  std::vector<Range> runs;  // of block numbers, ascending
  BlockNumber known_to;     // the runs end here; later blocks are not covered
};

struct PresenceSettings {
  std::uint64_t block_count = 0;
  std::size_t requests = 1;  // of the listing, at a time
  std::shared_ptr<PresenceMap> map;
  // If no server owns the volume: the knowledge that is certain as long as no server has written to
  // it. The check takes requests (unchanged_since.hpp), so only runs() uses it. Null if nothing is
  // certain.
  std::shared_ptr<PresenceMap> frozen{};
  std::string witness{};  // an object that every listing has to show; empty if none is known
};

class Presence {
 public:
  // `objects` outlives this. Starts the listing if the map is in use: otherwise others may write.
  Presence(BlockObjects& objects, PresenceSettings settings);
  // The destructor waits for the requests of the listing that are in flight.

  // Returns whether the block is known to have no object. Never queries the store.
  [[nodiscard]] bool is_absent(BlockNumber block) const { return map_.is_absent(block); }

  // Called after the store has answered a GET that there is no such object. Returns true if there
  // must have been one, unless the block is being changed; the caller repeats the GET as the
  // block's owner.
  [[nodiscard]] bool is_missed(BlockNumber block);
  // For the block's owner: throws Error(EIO) if there must be an object.
  void check_not_missed(BlockNumber block);

  // Returns the blocks of [first, end) that must be removed so that none has an object, at most
  // `limit` of them. The caller owns the range.
  StoredBlocks to_remove(BlockNumber first, BlockNumber end, std::size_t limit);

  // Returns the runs of [first, end) that may be stored. If that takes a listing, it ends after
  // `limit` objects; if it would be one of the whole volume, everything counts as stored.
  StoredRuns runs(BlockNumber first, BlockNumber end, std::size_t limit);

  // Called before and after a change, by the owner of the blocks.
  void change(std::span<const BlockNumber> blocks) { map_.change(blocks); }
  void stored(BlockNumber block) { map_.stored(block); }
  void removed(std::span<const BlockNumber> blocks) { map_.removed(blocks); }

  // Returns when the listing has ended or failed.
  void wait_until_listed() EXCLUDES(mutex_);

 private:
  bool listings_are_proof();
  StoredBlocks ask(BlockNumber first, BlockNumber end, std::size_t limit);
  void list();
  void learn(const ListedBlocks& listed);
  void say_contradictions() const;
  [[nodiscard]] std::string name_of(BlockNumber block) const {
    return objects_.format().name_of(block);
  }

  // Contradictions of the record by a listing that is no proof. Used by the thread that lists.
  struct Doubts {
    std::uint64_t recorded = 0;
    std::uint64_t confirmed = 0;
    std::uint64_t unexpected = 0;
    BlockNumber example{};  // one of the unexpected blocks
  };

  BlockObjects& objects_;
  const PresenceSettings settings_;
  PresenceMap& map_;
  Doubts doubts_;
  std::once_flag judged_;
  bool are_proof_ = false;  // set under judged_
  Mutex mutex_;
  ConditionVariable has_listed_;
  bool listed_ GUARDED_BY(mutex_) = false;
  StoppableThread lister_;  // last: it uses all of the above
};

}  // namespace nbdstack
