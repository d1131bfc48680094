// Plans how a write is sent below: each of its blocks as zeros, as data, or not at all.
//
//   block of the write              is sent as                       is then
//   whole, zeros, known zeros       nothing (may_drop)               zeros as before
//   whole, zeros                    a zero request                   zeros, may be a hole
//   whole, other                    data                             data
//   part, known zeros               as if the write covered the      (as above)
//                                   whole block, with zeros
//   part, not known zeros           data, as it is                   unknown, or data as before
//
// Adjacent blocks that are sent in the same way are one request. So a write is one request for each
// run of zeros or of data, and at most one more for zeros of which some are dropped: those are not
// cut out of the middle of a run.
//
// If the layer below has no zero request of its own, zeros are sent as data, and are still known to
// be zeros.
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
  std::vector<Step> steps;  // in ascending order; if there are none, everything is dropped
  std::vector<ZeroMap::Content> contents;  // of the blocks, when all steps have succeeded
};

struct PlanOptions {
  bool may_drop = false;  // zeros that are known need not be written
  bool can_zero = false;  // the layer below has a zero request of its own
};

// `range`, extended to the block boundary at each end whose block is among `zeros` (which are whole
// blocks).
Range widened_over_zeros(const BlockGeometry& geometry, const Range& range,
                         std::span<const Extent> zeros);

// `range` without the `zeros` at its two ends; empty if they cover all of it.
Range without_zeros_at_ends(const Range& range, std::span<const Extent> zeros);

// Appends the `zeros` that lie in `range` and not in `changed` to `contents`: they stay zeros.
void keep_zeros(std::span<const Extent> zeros, const Range& range, const Range& changed,
                std::vector<ZeroMap::Content>& contents);

// Plans the write of `data` at `data_offset`. `range` has been widened; the rest of it is zeros.
WritePlan plan_write(const BlockGeometry& geometry, const Range& range,
                     std::span<const std::byte> data, std::uint64_t data_offset,
                     std::span<const Extent> zeros_before, const PlanOptions& options);

}  // namespace nbdstack::zeroblock
