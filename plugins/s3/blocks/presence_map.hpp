// Maps the blocks of a volume to certain knowledge whether they have an object, so that reads,
// partial writes and trims of blocks that were never stored send no request for them.
//
//   state       means                                         ends by
//   unknown     nothing is certain                            a change of our own; an answer that
//                                                             there is no object; a listing that is
//                                                             proof
//   recorded,   it was absent when this server became the     a change; a listing that shows it,
//    absent     owner (known_blocks.hpp), and is unchanged    which makes it unknown
//   recorded,   it was stored then, and is unchanged          a change
//    stored
//   absent      we removed it, or the store has answered      a change
//               that there is no object
//   stored      we stored it                                  a change
//   listed      a listing that is proof has shown it          a change; an answer that there is no
//                                                             object
//   doubtful    a change is in flight, or has failed and      a change that succeeds
//               may have happened, or still happen
//
// An answer of the store may be older than a change. So it only replaces unknown and listed, and a
// change takes its blocks out of those states before it is sent: later answers about them are
// ignored, and the order of the two does not matter.
//
// That holds while no other server writes to the volume: the map answers only while `is_owner`
// returns true. It must return true from before the map is made. It may return false and then true
// again only if no other server has written in between (a lease in doubt that was renewed after
// all, lease.hpp). It is called by any thread.
//
// Memory: a node for a run of equal states, however long, and a byte a block in pages of many runs
// (block_states.hpp). May be used by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/block/range.hpp"
#include "common/sync/mutex.hpp"
#include "plugins/s3/blocks/block_states.hpp"
#include "plugins/s3/blocks/known_blocks.hpp"

namespace nbdstack {

class PresenceMap {
 public:
  // If `is_owner` is empty, no server owns the volume, and the map never answers. `known` was
  // certain when this server became the owner.
  explicit PresenceMap(std::function<bool()> is_owner, const KnownBlocks& known = {});

  // Returns whether it is certain that there is no object.
  [[nodiscard]] bool is_absent(BlockNumber block) const;
  // Returns whether it is certain that there is an object; being listed is not enough.
  [[nodiscard]] bool is_stored(BlockNumber block) const;

  // Returns the runs of [first, end) that may have objects, as half-open ranges of block numbers,
  // or nothing if a part is unknown.
  [[nodiscard]] std::optional<std::vector<Range>> candidates(BlockNumber first,
                                                             BlockNumber end) const;
  // As candidates(), but an unknown block may have an object. Calls `is_owner` only if the answer
  // would be less than the whole range.
  [[nodiscard]] std::vector<Range> not_absent(BlockNumber first, BlockNumber end) const;

  // change() is called before a change of the blocks is sent, the others when it has succeeded.
  void change(std::span<const BlockNumber> blocks);
  void stored(BlockNumber block);
  void removed(std::span<const BlockNumber> blocks);

  // Learns that the store has answered that there is no such object.
  void not_found(BlockNumber block);
  // Learns a listing that is proof: it has shown `present`, and no other objects of [first, end).
  void learn(std::span<const BlockNumber> present, BlockNumber first, BlockNumber end);

  struct Comparison {
    std::uint64_t recorded = 0;             // blocks of [first, end) that are recorded as stored
    std::uint64_t confirmed = 0;            // those of them that are listed
    std::vector<BlockNumber> unexpected{};  // listed, and recorded as absent: unknown from now on
  };
  // Compares the record with a listing that is no proof.
  Comparison compare(std::span<const BlockNumber> listed, BlockNumber first, BlockNumber end);

  // Returns the knowledge that is certain now. No change may be in flight.
  [[nodiscard]] KnownBlocks known() const;

  [[nodiscard]] std::size_t runs() const;
  [[nodiscard]] bool is_in_use() const { return static_cast<bool>(is_owner_); }

 private:
  // An unknown block has none of these.
  enum class State : std::uint8_t {
    recorded_absent,
    recorded_stored,
    absent,
    stored,
    listed,
    doubtful
  };

  static bool is_absence(State state) {
    return state == State::recorded_absent || state == State::absent;
  }
  static bool is_certain_storage(State state) {
    return state == State::recorded_stored || state == State::stored;
  }

  [[nodiscard]] std::optional<State> state_of(BlockNumber block) const;
  // Calls visit(range, state) for all of [first, end) in order, until it returns false.
  template <typename Visit>
  void walk(BlockNumber first, BlockNumber end, Visit&& visit) const REQUIRES(mutex_);
  void assign(std::span<const BlockNumber> blocks, State state);
  void fill(const Range& range, State state) REQUIRES(mutex_);

  const std::function<bool()> is_owner_;
  mutable Mutex mutex_;
  BlockStates<State> states_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
