// The records of the journal: one for each change of the index.
//
// A record on disk, in the machine's byte order (a cache does not move between machines):
//
//   bytes 0-7    checksum of all that follows, seeded with the generation of the journal
//   bytes 8-11   length of the whole record, a multiple of 8
//   byte  12     kind
//   byte  13     flag (dirty, may_trim)
//   bytes 14-15  how many pages have checksums below
//   bytes 16-23  sequence: records are numbered through, over all generations. A commit record is
//                outside of the numbering: its sequence is that of the last record it covers.
//   bytes 24-31  the last sequence that was known to be durable when the record was written: a
//                missing record up to that one was damaged, and did not just never reach the disk.
//   bytes 32-63  slot (32 bits) and 32 bits of 0, first, second, copies
//   bytes 64-    the checksums of the new content of all its pages, then those of the old content
//
//   kind         slot  first   second  copies  per page  flag      means
//   wrote       x     block   pages   x       new, old  dirty     pages hold new content
//   rewrote     x             pages           new, old            dirty pages hold other content
//   zeroed      x     block   pages           0, old    may_trim  pages are zeros, and dirty
//   forgotten   x             pages           0, old              pages are not cached
//   cleaned     x             pages                               pages are not dirty
//   dropped     x                                                 the slot belongs to no block
//   damaged     x                                                 its content is damaged
//   zeros_added       offset  length                    may_trim  blocks are zeros, and dirty
//   zeros_removed     offset  length
//   commit                                                        see sequence
//
// "old" is 0, or ignored, if the page was not stored before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "common/block/range.hpp"
#include "filters/cache/slots/page_mask.hpp"
#include "filters/cache/slots/slot_list.hpp"

namespace nbdstack {

namespace record {

// The checksums of pages, in ascending order.
using Checksums = std::vector<std::uint64_t>;

struct Wrote {
  Slot slot = kNoSlot;
  BlockNumber block;
  PageMask pages = 0;
  PageMask copies = 0;
  bool dirty = false;
  Checksums now;
  Checksums old;  // as many
};
struct Rewrote {
  Slot slot = kNoSlot;
  PageMask pages = 0;
  PageMask copies = 0;
  Checksums now;
  Checksums old;
};
struct Zeroed {
  Slot slot = kNoSlot;
  BlockNumber block;
  PageMask pages = 0;
  bool may_trim = false;
  Checksums old;  // or none
};
struct Forgotten {
  Slot slot = kNoSlot;
  PageMask pages = 0;
  Checksums old;  // or none
};
struct Cleaned {
  Slot slot = kNoSlot;
  PageMask pages = 0;
};
struct Dropped {
  Slot slot = kNoSlot;
};
struct Damaged {
  Slot slot = kNoSlot;
};
struct ZerosAdded {
  Range range;
  bool may_trim = false;
};
struct ZerosRemoved {
  Range range;
};
struct Commit {};

// In the order of the numbers that kinds have in a file, from 1.
using Event = std::variant<Wrote, Rewrote, Zeroed, Forgotten, Cleaned, Dropped, Damaged, ZerosAdded,
                           ZerosRemoved, Commit>;

}  // namespace record

struct Record {
  record::Event event;
  std::uint64_t sequence = 0;
  std::uint64_t durable_sequence = 0;

  [[nodiscard]] std::uint8_t kind() const { return static_cast<std::uint8_t>(event.index() + 1); }
  template <typename Kind>
  [[nodiscard]] bool is() const {
    return std::holds_alternative<Kind>(event);
  }
  // Returns nothing if the record is not about a slot.
  [[nodiscard]] std::optional<Slot> slot() const;
};

// Appends the record to `buffer`.
void encode(const Record& record, std::uint64_t generation, std::vector<std::byte>& buffer);

struct Decoded {
  Record record;
  std::size_t length = 0;
};

// Returns the record that `bytes` begins with, or nothing if that is not an intact record for a
// disk of this geometry. A record with blocks, pages or ranges outside the disk, without a checksum
// for each page of new content, or with checksums that its kind does not have, is damaged, even if
// its own checksum fits.
std::optional<Decoded> decode(std::span<const std::byte> bytes, std::uint64_t generation,
                              const BlockGeometry& geometry);

}  // namespace nbdstack
