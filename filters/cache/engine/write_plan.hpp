// Which requests bring dirty pages to the layer below: as few as possible.
//
// A pure function of what is known of the pages, so that its choices can be tested as a table.
//
// The layer below is asked for its preferred block size. What it prefers to be larger than a page,
// it reads and writes as a whole: a write of part of such a block costs two requests there. So
// within one unit (a block of the cache or a preferred block below, whichever is larger) there are
// two ways:
//
//   apart      each run of dirty pages is a request of its own; where the preferred block is larger
//              than a page, each preferred block that a run covers in part costs one more
//   completed  what is not known of the unit is read, and the unit is written as a whole: one
//              request, and one more if anything had to be read
//
// The cheaper one is taken, and the first where they are equal, because it moves fewer bytes. Pages
// that are valid but clean may fill the gap between two runs that are sent apart, which saves a
// request. Runs that meet at the border of two units become one request.
//
// Zeros that are sent apart are zero requests, never data. A unit is completed only where there is
// data to send; with zeros among it, only where the preferred block is larger than a page, so that
// the layer below would write all of it anyhow.
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
  PageMask readable = 0;  // pages whose content the cache knows and may send: `pages` among them
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
  std::uint64_t preferred_block_size = 0;  // of the layer below; 0 or 1: none
  std::uint64_t longest_bytes = 0;         // of a data request
};

// Requests in ascending order; they do not overlap.
std::vector<WriteRequest> plan_writes(const std::vector<BlockToWrite>& blocks,
                                      const WritePlanLimits& limits);

}  // namespace nbdstack
