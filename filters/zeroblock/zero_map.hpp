// What is known of an export's blocks (common/block/known_ranges.hpp): that one holds nothing but
// zeros, that it is stored data, or nothing.
//
//   state     means                                   comes from
//   zeros     the block reads as zeros; it may be     a zero or a write of zeros that succeeded, a
//             a hole besides                          read that found them, extents below
//   data      the layer below stores it, whatever     a write that succeeded, extents below
//             its content
//   unknown   nobody has looked, or it cannot be      a change under way or failed, a trim; what
//             said of the block as a whole            is known in part only; a map that is full
//
// A change takes `zeros` away before it is sent. The owner sees to it that changes which cover parts
// of one block at the same time do not disagree about what it holds (zeroblock_layer.hpp).
//
// Units: bytes; what is kept are whole blocks.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/block/extents.hpp"
#include "common/block/known_ranges.hpp"
#include "common/block/range.hpp"

namespace nbdstack {

class ZeroMap final : public KnownRanges {
 public:
  static constexpr std::size_t kMostRuns = 1U << 20U;  // some 80 MB

  explicit ZeroMap(const BlockGeometry& geometry, View view = View::all_connections,
                   std::size_t most_runs = kMostRuns)
      : KnownRanges({.runs_max = most_runs, .disturbed_max = most_runs}, view,
                    [](ExtentType known, ExtentType told) { return known.zero || !told.zero; }),
        geometry_(geometry) {}

  [[nodiscard]] const BlockGeometry& geometry() const { return geometry_; }

  [[nodiscard]] std::vector<Extent> zeros(const Range& range) const EXCLUDES(mutex_);
  [[nodiscard]] bool is_zeros(const Range& range) const;  // all of it
  [[nodiscard]] bool is_hole(const Range& range) const;   // zeros of which nothing is stored

  // Blocks that no content of commit() names stay data or unknown, not zeros. So what was zeros
  // before and has not been touched is named as well.
  class Change : public KnownRanges::Change {
   public:
    Change(KnownRanges::Change&& begun, std::vector<Extent> zeros)
        : KnownRanges::Change(std::move(begun)), zeros_before_(std::move(zeros)) {}

    // What was known to be zeros in the blocks when the change began.
    [[nodiscard]] const std::vector<Extent>& zeros_before() const { return zeros_before_; }

   private:
    std::vector<Extent> zeros_before_;
  };

  // Begins a change of `blocks`, of which the caller owns `owned` and nothing else. Returns nothing
  // if there are known zeros in `blocks` that the caller does not own.
  [[nodiscard]] std::optional<Change> begin_change(const Range& blocks, const Range& owned)
      EXCLUDES(mutex_);

  // What the layer below said, in order. What it says of parts of blocks only is passed over, and so
  // is a hole that does not read as zeros. `data` is believed of what was unknown, `zeros` always.
  void learn(Query& query, std::span<const Extent> found) const;

 private:
  [[nodiscard]] std::vector<Extent> zeros_locked(const Range& range) const REQUIRES(mutex_);
  [[nodiscard]] bool is_all(const Range& range, bool (*accepts)(ExtentType)) const EXCLUDES(mutex_);

  const BlockGeometry geometry_;
};

}  // namespace nbdstack
