// The known state of each block of an export (common/block/known_ranges.hpp).
//
//   state     means                                   comes from
//   zeros     the block reads as zeros; it may be     a zero or a write of zeros that succeeded, a
//             a hole                                  read that found zeros, extents below
//   data      the layer below stores the block,       a write that succeeded, extents below
//             whatever its content
//   unknown   neither is known of the whole block     no request so far, a change under way or
//                                                     failed, a trim, a map that is full
//
// A change removes `zeros` before it is sent. The owner ensures that changes which cover parts of
// one block at the same time agree about its content (zeroblock_layer.hpp).
//
// Ranges are in bytes, and cover whole blocks.
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
  [[nodiscard]] bool is_hole(const Range& range) const;   // all of it zeros that are not stored

  // Blocks that no content of commit() names stay data or unknown, but not zeros. So the caller
  // also names the zeros that the change has not touched.
  class Change : public KnownRanges::Change {
   public:
    Change(KnownRanges::Change&& begun, std::vector<Extent> zeros)
        : KnownRanges::Change(std::move(begun)), zeros_before_(std::move(zeros)) {}

    // The known zeros in the blocks when the change began.
    [[nodiscard]] const std::vector<Extent>& zeros_before() const { return zeros_before_; }

   private:
    std::vector<Extent> zeros_before_;
  };

  // Begins a change of `blocks`, of which the caller owns `owned` only. Returns nothing if `blocks`
  // contain known zeros that the caller does not own.
  [[nodiscard]] std::optional<Change> begin_change(const Range& blocks, const Range& owned)
      EXCLUDES(mutex_);

  // Learns what the layer below has replied, in order. Parts of blocks are ignored, and so is a
  // hole that does not read as zeros. `data` replaces unknown only, `zeros` replace data, too.
  void learn(Query& query, std::span<const Extent> found) const;

 private:
  [[nodiscard]] std::vector<Extent> zeros_locked(const Range& range) const REQUIRES(mutex_);
  [[nodiscard]] bool is_all(const Range& range, bool (*accepts)(ExtentType)) const EXCLUDES(mutex_);

  const BlockGeometry geometry_;
};

}  // namespace nbdstack
