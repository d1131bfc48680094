// Which blocks of a volume have an object: by what is known (presence_map.hpp), or else by asking
// the store.
//
// As long as nobody else may write to the volume, everything is learnt by one listing in the
// background, begun at the start, and kept up to date by telling of every change. The listing is a
// hint: when it fails, what is left stays unknown, and the store is asked.
//
// Any thread; nothing is locked while the store works.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "plugins/s3/block_objects.hpp"
#include "plugins/s3/presence_map.hpp"

namespace nbdstack {

// Runs of blocks that have objects, or may have.
struct StoredRuns {
  std::vector<Range> runs;  // of block numbers, ascending
  BlockNumber known_to;     // nothing is said of what lies from here on
};

class Presence {
 public:
  // `objects` outlives this. Starts the listing of blocks 0 ... block_count - 1, with so many
  // requests at a time, unless `is_owner` (presence_map.hpp) is empty: then nobody knows who else
  // writes.
  Presence(BlockObjects& objects, std::uint64_t block_count, std::size_t requests,
           std::function<bool()> is_owner);
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;
  // Waits for the requests of the listing that are under way.
  ~Presence();

  // Without asking the store; false also where it is not known.
  [[nodiscard]] bool is_absent(BlockNumber block) const { return map_.is_absent(block); }

  // The blocks of [first, end) that have to be removed to leave none, at most `limit` of them. The
  // caller owns the range.
  StoredBlocks to_remove(BlockNumber first, BlockNumber end, std::size_t limit);

  // What of [first, end) is stored. Where that takes a listing, it ends after `limit` objects;
  // where it would take one of the whole volume, everything counts as stored.
  StoredRuns runs(BlockNumber first, BlockNumber end, std::size_t limit);

  // Around a change, which the caller owns the blocks for.
  void change(std::span<const BlockNumber> blocks) { map_.change(blocks); }
  void stored(BlockNumber block) { map_.stored(block); }
  void removed(std::span<const BlockNumber> blocks) { map_.removed(blocks); }

  // The listing has ended, one way or the other.
  void wait_until_listed();

 private:
  StoredBlocks ask(BlockNumber first, BlockNumber end, std::size_t limit);
  void list(std::uint64_t block_count, std::size_t requests);

  BlockObjects& objects_;
  PresenceMap map_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // protects listed_
  std::condition_variable has_listed_;
  bool listed_ = false;
  std::thread lister_;  // last: it uses all of the above
};

}  // namespace nbdstack
