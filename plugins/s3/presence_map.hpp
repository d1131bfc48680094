// Which blocks of a volume have an object, as far as is known: so that a read, a partial write or a
// trim of what was never stored sends nothing.
//
//   state      means                                    left by
//   unknown    nobody has looked                        a listing, or a change of our own
//   absent     there is no object                       a change
//   present    there is an object                       a change
//   doubtful   a change is under way, or failed, and    a change that succeeds
//              may have happened, or still happen
//
// A listing may be older than a change. So it fills in what is unknown and nothing else, and a
// change takes its blocks out of `unknown` before it is sent: whatever a listing says of them later
// is ignored. No order of the two goes wrong.
//
// That holds as long as nobody else writes to the volume: the map answers only while `is_owner`
// says so, and is of no use without. `is_owner` is true from before the map is made; it may turn
// false and true again only where nobody else has written in between (a lease in doubt that was
// renewed after all, lease.hpp). It is asked by any thread.
//
// Memory: a node for a run of equal states, however long. Any thread.
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
#include "common/block/run_map.hpp"

namespace nbdstack {

class PresenceMap {
 public:
  // Empty: nobody owns the volume, and the map never answers.
  explicit PresenceMap(std::function<bool()> is_owner) : is_owner_(std::move(is_owner)) {}

  // False also where it is not known.
  [[nodiscard]] bool is_absent(BlockNumber block) const;

  // The runs of [first, end) that may have objects, as half-open ranges of block numbers. Nothing:
  // part of it is unknown.
  [[nodiscard]] std::optional<std::vector<Range>> candidates(BlockNumber first,
                                                             BlockNumber end) const;

  // Around a change of the blocks: before it is sent, and when it has succeeded.
  void change(std::span<const BlockNumber> blocks);
  void stored(BlockNumber block);
  void removed(std::span<const BlockNumber> blocks);

  // From a listing: these blocks have objects, and no others in [first, end) have.
  void learn(std::span<const BlockNumber> present, BlockNumber first, BlockNumber end);

  [[nodiscard]] std::size_t runs() const;
  [[nodiscard]] bool is_in_use() const { return static_cast<bool>(is_owner_); }

 private:
  enum class State : std::uint8_t { absent, present, doubtful };  // unknown: no run

  void assign(std::span<const BlockNumber> blocks, State state);
  void fill(const Range& range, State state);  // mutex_ is held

  const std::function<bool()> is_owner_;
  mutable std::mutex mutex_;  // protects states_
  RunMap<State> states_;      // by block number
};

}  // namespace nbdstack
