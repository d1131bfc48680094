// One reader on its way over the disk: which reads are his, and what he should find fetched.
//
//      gaps       read          window: asked for and not read yet
//   ---[  ]------------------->|=====================|------------------------------> along the way
//                              next                  asked_to
//
// Which reads are his. `next` is where the next one is expected. A read may leave out something, at
// most what has been asked for or the length of a read, and up to 16 lengths while other reads are
// under way, because these may overtake each other on their way through the server. What was left
// out is a gap, and a read that fills it belongs to the stream too. With a step, reads have to lie
// a multiple of it apart, up to 16.
//
// How much. The window doubles each time it is granted whole. It is moved up when half of it has
// been read, so that the reader meets its end only where he is faster than the layer below. It ends
// on bounds of the layer's preferred blocks, or inside the block in which it begins.
//
// When it ends. Reads that leave something out speak against the stream, those that do not, or that
// fill a gap, for it; nothing is asked for upon the former. Who skips more often than not is no
// stream (is_lost). Until it has been read on where it was expected it is a guess (reads_on).
//
// No locking: the owner holds its mutex around every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/block/run_map.hpp"
#include "filters/readahead/access_pattern.hpp"

namespace nbdstack {

// What a window may be.
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
    next,  // goes on, perhaps leaving something out
    late,  // fills a gap
  };
  struct Match {
    Relation relation = Relation::stranger;
    std::uint64_t distance_bytes = 0;  // left out by it
  };
  [[nodiscard]] Match match(const Range& read, bool others_under_way) const;

  // Takes a read that is no stranger. Returns a gap that is not waited for any longer.
  std::optional<Range> take(const Range& read, Relation relation);
  [[nodiscard]] bool is_lost() const { return score_ < 0; }
  // Whether he has gone on where he was expected twice since he was found: chance hardly does that.
  [[nodiscard]] bool reads_on() const { return in_order_ >= 2; }

  // When it was last read, in reads of all streams.
  void note_arrival(std::uint64_t number) { last_arrival_ = number; }
  [[nodiscard]] std::uint64_t last_arrival() const { return last_arrival_; }

  // How much has been asked for and is not read yet.
  [[nodiscard]] std::uint64_t ahead_bytes() const {
    const std::uint64_t distance = asked_to_ - next_;
    return step_ == 0 ? distance : distance / step_ * length_;
  }

  // What to ask for now, at most `allowed_bytes`: often nothing. It counts as asked for.
  std::vector<Range> move_window(std::uint64_t allowed_bytes);

  // What was asked for or left out, and may still be wanted.
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
  std::uint64_t in_order_ = 0;  // reads that left out nothing
  bool skipped_ = false;        // by the last read: it is no reason to ask for anything
  std::uint64_t last_arrival_ = 0;
};

}  // namespace nbdstack
