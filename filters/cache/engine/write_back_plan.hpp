// Plans the requests that bring dirty pages to the layer below: as few as possible.
//
// It is a pure function of the pages' state, so that its choices can be tested as a table.
//
// The layer below reports its preferred block size. It reads and writes such a block as a whole if
// it is larger than a page: a write of part of it costs two requests there. So within one unit (a
// block of the cache or a preferred block below, whichever is larger) there are two ways:
//
//   apart      each run of dirty pages is a request of its own; if the preferred block is larger
//              than a page, each preferred block that a run covers in part costs one more
//   completed  the unknown part of the unit is read, and the unit is written as a whole: one
//              request, and one more if anything had to be read
//
// The cheaper one is chosen, and the first if they are equal, because it moves fewer bytes. Valid
// but clean pages may fill the gap between two runs that are sent apart, which saves a request.
// Runs that meet at the border of two units become one request.
//
// Zeros that are sent apart are zero requests, never data. A unit is completed only if there is
// data to send; with zeros in it, only if the preferred block is larger than a page, so that the
// layer below would write all of it in any case.
#pragma once

#include <cstdint>
#include <vector>

#include "common/block/range.hpp"
#include "filters/cache/slots/page_mask.hpp"

namespace nbdstack {

// One block with something to write, in ascending order of blocks.
struct BlockToWrite {
  Range range;
  PageMask pages = 0;     // to be written or zeroed
  PageMask zero = 0;      // those that are zeros, dirty or not
  PageMask hole = 0;      // those that are to be zeroed and may be deallocated
  PageMask readable = 0;  // pages that the cache has and may send, including `pages`
};

struct WriteRequest {
  enum class Kind : std::uint8_t { data, zero, hole };

  Kind kind = Kind::data;
  Range range;
  std::vector<Range> missing;  // parts of a data request to be read from below first, in order

  friend bool operator==(const WriteRequest&, const WriteRequest&) = default;
};

struct WritePlanLimits {
  std::uint64_t disk_size_bytes = 0;
  std::uint32_t block_size = 0;            // the cache's
  std::uint64_t preferred_block_size = 0;  // of the layer below; none if 0 or 1
  std::uint64_t longest_bytes = 0;         // of a data request
};

// Requests in ascending order; they do not overlap.
std::vector<WriteRequest> plan_writes(const std::vector<BlockToWrite>& blocks,
                                      const WritePlanLimits& limits);

}  // namespace nbdstack
