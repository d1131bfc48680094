// Externally synchronized: the ranges that are being changed in the layer below.
//
//   kind         registered by                                   excludes, if they overlap
//   write-back   write-backs and zeroings, with everything       every other change
//                they may have to read to complete a request
//   bypass       a change that bypasses the cache                write-backs; not other bypasses,
//                                                                which RangeLock keeps apart
//
// A range is registered only if nothing that it excludes is there, or waits, registered, for
// earlier write-backs. A thread never waits while one of its own ranges is registered as a
// write-back, so write-backs cannot wait for each other in a circle.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <list>

#include "common/block/range.hpp"
#include "common/invariant.hpp"

namespace nbdstack {

class ChangesBelow {
 public:
  // The memory for a registration, allocated before it, so that registering cannot fail.
  class Place {
   public:
    Place() : waiting_(1), at_(waiting_.begin()) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    [[nodiscard]] bool is_registered() const { return waiting_.empty(); }

   private:
    friend ChangesBelow;
    std::list<Range> waiting_;
    std::list<Range>::iterator at_;
  };

  ChangesBelow(std::uint64_t disk_bytes, std::uint32_t block_size)
      : disk_bytes_(disk_bytes), block_size_(block_size) {}

  void begin_write_back(Place& place, const Range& range) {
    INVARIANT(!is_busy(range), range.offset, range.length);
    begin(write_backs_, place, range);
  }
  void end_write_back(Place& place) { end(write_backs_, place); }
  void begin_bypass(Place& place, const Range& range) {
    INVARIANT(!is_bypassed(range), range.offset, range.length);
    begin(bypasses_, place, range);
  }
  void end_bypass(Place& place) { end(bypasses_, place); }

  [[nodiscard]] bool is_written_back(const Range& range) const {
    return meets(write_backs_, range);
  }
  [[nodiscard]] bool is_bypassed(const Range& range) const { return meets(bypasses_, range); }
  // Return whether a write-back has to wait: of just these bytes, or with all it may have to read.
  [[nodiscard]] bool is_busy(const Range& range) const {
    return is_written_back(range) || is_bypassed(range);
  }
  [[nodiscard]] bool is_unit_busy(const Range& range, std::uint64_t preferred_block_size) const {
    return is_busy(unit_covering(range, preferred_block_size));
  }
  // Returns the range that a write-back of `range` may read and write whole (write_back_plan.hpp).
  [[nodiscard]] Range unit_covering(const Range& range, std::uint64_t preferred_block_size) const {
    const std::uint64_t unit =
        std::bit_ceil(std::max<std::uint64_t>(block_size_, preferred_block_size));
    const std::uint64_t begin = range.offset / unit * unit;
    return {begin, std::min(disk_bytes_, (range.end() + unit - 1) / unit * unit) - begin};
  }

 private:
  using Ranges = std::list<Range>;

  static void begin(Ranges& ranges, Place& place, const Range& range) {
    INVARIANT(!place.is_registered(), range.offset, range.length);
    *place.at_ = range;
    ranges.splice(ranges.end(), place.waiting_);
  }
  static void end(Ranges& ranges, Place& place) {
    if (place.is_registered()) place.waiting_.splice(place.waiting_.end(), ranges, place.at_);
  }
  [[nodiscard]] static bool meets(const Ranges& ranges, const Range& range) {
    return std::any_of(ranges.begin(), ranges.end(),
                       [&](const Range& other) { return other.overlaps(range); });
  }

  const std::uint64_t disk_bytes_;
  const std::uint32_t block_size_;
  Ranges write_backs_;
  Ranges bypasses_;
};

}  // namespace nbdstack
