// A stream of reads over the disk: decides which reads belong to it, and what to prefetch for it.
// Externally synchronized.
//
//      gaps       read          window: requested and not read yet
//   ---[  ]------------------->|=====================|------------------------------> along the way
//                              next                  asked_to
//
// Membership. `next` is the expected offset of the next read. A read may skip some bytes: at most
// the window or the length of a read, and up to 16 lengths while other reads are in flight, because
// these may overtake each other on their way through the server. The skipped bytes are a gap, and a
// read that fills it belongs to the stream, too. With a step, reads must be a multiple of it apart,
// up to 16.
//
// Window. It doubles each time it is granted whole. It moves when half of it has been read, so that
// a reader reaches its end only if it is faster than the layer below. It ends on a boundary of the
// layer's preferred blocks, or inside the block in which it begins.
//
// End. Reads that skip lower the stream's score, and cause no prefetch; others raise it. A stream
// that skips more often than not ends (is_lost). A stream is confirmed (reads_on) after two reads
// at the expected place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/block/run_map.hpp"
#include "filters/readahead/access_pattern.hpp"

namespace nbdstack {

// The bounds of a window.
struct WindowLimits {
  std::uint64_t first_bytes = 128ULL << 10U;
  std::uint64_t largest_bytes = 32ULL << 20U;
  std::uint32_t preferred_block_size = 1;  // both are powers of two
  std::uint32_t minimum_block_size = 1;
};

class Stream {
 public:
  Stream(const AccessPattern& pattern, std::uint64_t disk_size_bytes, const WindowLimits& limits);

  enum class Relation : std::uint8_t {
    stranger,
    next,  // continues it, perhaps skipping some bytes
    late,  // fills a gap
  };
  struct Match {
    Relation relation = Relation::stranger;
    std::uint64_t distance_bytes = 0;  // skipped by it
  };
  [[nodiscard]] Match match(const Range& read, bool others_under_way) const;

  // Takes a read that is no stranger. Returns a gap that is not expected to be read any more.
  std::optional<Range> take(const Range& read, Relation relation);
  [[nodiscard]] bool is_lost() const { return score_ < 0; }
  // Returns whether the stream is confirmed: random reads are hardly ever where a stream expects
  // them, two times in a row.
  [[nodiscard]] bool reads_on() const { return in_order_ >= 2; }

  // Sets the time of its last read, counted in reads of all streams.
  void note_arrival(std::uint64_t number) { last_arrival_ = number; }
  [[nodiscard]] std::uint64_t last_arrival() const { return last_arrival_; }

  // Returns how much was requested and is not read yet.
  [[nodiscard]] std::uint64_t ahead_bytes() const {
    const std::uint64_t distance = asked_to_ - next_;
    return step_ == 0 ? distance : distance / step_ * length_;
  }

  // Returns what to request now, at most `allowed_bytes`, often nothing. It counts as requested.
  std::vector<Range> move_window(std::uint64_t allowed_bytes);

  // Returns the ranges that were requested or skipped, and may still be read.
  [[nodiscard]] std::vector<Range> expected() const;

 private:
  [[nodiscard]] Match match_step(const Range& read) const;
  [[nodiscard]] std::uint64_t on_bound(std::uint64_t end) const;
  std::vector<Range> move_sequence(std::uint64_t allowed_bytes);
  std::vector<Range> move_steps(std::uint64_t allowed_bytes);
  void granted(bool whole);

  const Direction direction_;
  const std::uint64_t step_;
  const std::uint64_t length_;
  const std::uint64_t end_;  // of the disk, along the way
  const WindowLimits limits_;

  std::uint64_t next_;
  std::uint64_t asked_to_;  // not below next_; with a step, a multiple of it from next_
  std::uint64_t window_;    // in bytes to be read
  RunMap<bool> gaps_;       // along the way; at most kGaps_max
  int score_;
  std::uint64_t in_order_ = 0;  // reads that skipped nothing
  bool skipped_ = false;        // the last read skipped bytes, so it causes no prefetch
  std::uint64_t last_arrival_ = 0;
};

}  // namespace nbdstack
