// How a write goes below: which of its blocks as zeros, which as data, which not at all.
//
//   block of the write              goes below as                    is then
//   whole, zeros, known zeros       nothing (may_drop)               zeros as before
//   whole, zeros                    a zero request                   zeros, may be a hole
//   whole, other                    data                             data
//   part, known zeros               as if the write covered the      (as above)
//                                   whole block, with zeros
//   part, not known zeros           data, as it is                   unknown, or data as before
//
// Blocks that go down in the same way and touch are one request. So a write is as many requests as
// it changes between zeros and data, and one more at most for zeros of which some are dropped: they
// are not cut out of the middle of a run.
//
// Where the layer below has no zero request of its own, zeros go down as data, and are known to be
// zeros all the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/block/extents.hpp"
#include "common/block/range.hpp"
#include "filters/zeroblock/zero_map.hpp"

namespace nbdstack::zeroblock {

struct Step {
  enum class Kind : std::uint8_t { data, zeros };

  Kind kind;
  Range range;

  friend bool operator==(const Step&, const Step&) = default;
};

struct WritePlan {
  std::vector<Step> steps;                 // in ascending order; none: everything is dropped
  std::vector<ZeroMap::Content> contents;  // when all steps have succeeded
};

struct PlanOptions {
  bool may_drop = false;  // zeros that are known to be there need not be written
  bool can_zero = false;  // the layer below has a zero request of its own
};

// `range`, and those of its end blocks whole that are among `zeros` (which are whole blocks).
Range widened_over_zeros(const BlockGeometry& geometry, const Range& range,
                         std::span<const Extent> zeros);

// The least range that has all of `range` but what is among `zeros`; empty where they cover it.
Range without_zeros_at_ends(const Range& range, std::span<const Extent> zeros);

// `zeros` that lie in `range` and not in `changed`, as contents that stay.
void keep_zeros(std::span<const Extent> zeros, const Range& range, const Range& changed,
                std::vector<ZeroMap::Content>& contents);

// `range` has been widened; `data` is what is written at `data_offset`, and around it are zeros.
WritePlan plan_write(const BlockGeometry& geometry, const Range& range,
                     std::span<const std::byte> data, std::uint64_t data_offset,
                     std::span<const Extent> zeros_before, const PlanOptions& options);

}  // namespace nbdstack::zeroblock
