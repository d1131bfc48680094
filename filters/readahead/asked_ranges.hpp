// The ranges that were requested ahead and not read yet. Externally synchronized.
//
//   queued  its fetch has not begun. A read that comes first fetches it itself and removes it here
//   sent    requested from the layer below. It is kept until it is read or discarded, so that it is
//           not requested again
//
// Its size grows with the windows of the streams, and with the ranges that they skip for a while.
#pragma once

#include <cstdint>
#include <vector>

#include "common/block/run_map.hpp"
#include "common/invariant.hpp"

namespace nbdstack {

class AskedRanges {
 public:
  // No part of `range` may be here already.
  void add(const Range& range) {
    INVARIANT(!runs_.overlaps(range), range.offset, range.length);
    runs_.assign(range, State::queued);
    bytes_ += range.length;
  }

  // Makes the queued parts of `range` sent, and returns them.
  std::vector<Range> send(const Range& range) {
    std::vector<Range> parts;
    for (const auto& run : runs_.overlapping(range)) {
      if (run.value == State::queued) parts.push_back(run.range);
    }
    for (const Range& part : parts) runs_.assign(part, State::sent);
    return parts;
  }

  struct Removed {
    std::uint64_t queued_bytes = 0;
    std::uint64_t sent_bytes = 0;
  };
  // Called when `range` has been read, or is discarded.
  Removed remove(const Range& range) {
    Removed removed;
    if (runs_.empty()) return removed;
    for (const auto& run : runs_.overlapping(range)) {
      (run.value == State::queued ? removed.queued_bytes : removed.sent_bytes) += run.range.length;
    }
    runs_.erase(range);
    INVARIANT(removed.queued_bytes + removed.sent_bytes <= bytes_, range.offset, range.length);
    bytes_ -= removed.queued_bytes + removed.sent_bytes;
    return removed;
  }

  [[nodiscard]] std::vector<Range> overlapping(const Range& range) const {
    std::vector<Range> parts;
    for (const auto& run : runs_.overlapping(range)) parts.push_back(run.range);
    return parts;
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t size() const { return runs_.size(); }  // in runs

 private:
  enum class State : std::uint8_t { queued, sent };
  RunMap<State> runs_;
  std::uint64_t bytes_ = 0;
};

}  // namespace nbdstack
