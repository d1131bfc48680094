// Which blocks of a volume have an object, as far as that is certain: so that a read, a partial
// write or a trim of what was never stored sends nothing.
//
//   state       means                                         left by
//   unknown     nothing is certain                            a change of our own, an answer that
//                                                             there is none, a listing that is proof
//   recorded,   so it was when this server became the owner   a change; a listing that shows
//    absent     (known_blocks.hpp), and nothing has changed   otherwise: to unknown
//   recorded,   the same                                      a change
//    stored
//   absent      we removed it, or were told that there is     a change
//               none
//   stored      we stored it                                  a change
//   listed      a listing that is proof has shown it          a change, an answer that there is none
//   doubtful    a change is under way, or failed, and may     a change that succeeds
//               have happened, or still happen
//
// Knowledge that comes from the store may be older than a change. So it fills in what is unknown
// (or listed) and nothing else, and a change takes its blocks out of those states before it is
// sent: whatever an answer says of them later is ignored. No order of the two goes wrong.
//
// That holds as long as nobody else writes to the volume: the map answers only while `is_owner`
// says so, and is of no use without. `is_owner` is true from before the map is made; it may turn
// false and true again only where nobody else has written in between (a lease in doubt that was
// renewed after all, lease.hpp). It is asked by any thread.
//
// Memory: a node for a run of equal states, however long, and a byte a block where there are many
// (block_states.hpp). Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/block/range.hpp"
#include "plugins/s3/blocks/block_states.hpp"
#include "plugins/s3/blocks/known_blocks.hpp"

namespace nbdstack {

class PresenceMap {
 public:
  // `is_owner` is empty: nobody owns the volume, and the map never answers. `known` is what was
  // certain when this server became the owner.
  explicit PresenceMap(std::function<bool()> is_owner, const KnownBlocks& known = {});

  // It is certain that there is no object; false also where nothing is.
  [[nodiscard]] bool is_absent(BlockNumber block) const;
  // It is certain that there is one. Not so of what was only listed.
  [[nodiscard]] bool is_stored(BlockNumber block) const;

  // The runs of [first, end) that may have objects, as half-open ranges of block numbers. Nothing:
  // part of it is unknown.
  [[nodiscard]] std::optional<std::vector<Range>> candidates(BlockNumber first,
                                                             BlockNumber end) const;
  // The same where what is unknown counts as what may have one. Asks `is_owner` only if there would
  // be something else to answer than the whole range.
  [[nodiscard]] std::vector<Range> not_absent(BlockNumber first, BlockNumber end) const;

  // Around a change of the blocks: before it is sent, and when it has succeeded.
  void change(std::span<const BlockNumber> blocks);
  void stored(BlockNumber block);
  void removed(std::span<const BlockNumber> blocks);

  // The store has answered that there is no such object.
  void not_found(BlockNumber block);
  // From a listing that is proof: these blocks have objects, and no others in [first, end) have.
  void learn(std::span<const BlockNumber> present, BlockNumber first, BlockNumber end);

  struct Comparison {
    std::uint64_t recorded = 0;             // blocks of [first, end) that are recorded as stored
    std::uint64_t confirmed = 0;            // blocks listed that are
    std::vector<BlockNumber> unexpected{};  // listed, and recorded as absent: unknown from now on
  };
  // With what a listing that is no proof has shown.
  Comparison compare(std::span<const BlockNumber> listed, BlockNumber first, BlockNumber end);

  // What is certain now, while no change is under way.
  [[nodiscard]] KnownBlocks known() const;

  [[nodiscard]] std::size_t runs() const;
  [[nodiscard]] bool is_in_use() const { return static_cast<bool>(is_owner_); }

 private:
  // Unknown: no run.
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
  // Calls visit(range, state) for all of [first, end) in order; no state: unknown. False ends it.
  template <typename Visit>
  void walk(BlockNumber first, BlockNumber end, Visit&& visit) const;  // mutex_ is held
  void assign(std::span<const BlockNumber> blocks, State state);
  void fill(const Range& range, State state);  // mutex_ is held

  const std::function<bool()> is_owner_;
  mutable std::mutex mutex_;  // protects states_
  BlockStates<State> states_;
};

}  // namespace nbdstack
