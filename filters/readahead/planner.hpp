// Plans the prefetches of one export from the reads of all of its clients. Externally synchronized;
// it makes no calls.
//
// A read belongs to a known stream (stream.hpp), or may prove a new one together with recent reads
// of no stream (recent_reads.hpp). The number of streams is bounded: a new one replaces the one
// that was read longest ago. A read may advance its stream's window. The planner prefetches the
// part that is neither requested (asked_ranges.hpp) nor being read. Active streams share the
// allowance equally (allowance.hpp); part of it is reserved for confirmed streams. Reads of no
// stream fetch nothing.
//
// Pieces are cut at multiples of the largest piece, so that several are fetched at once, each of
// whole blocks of the layer below.
//
// A fetch that fails is not repeated, and its allowance is lost, so a layer that keeps failing gets
// few requests. When a stream ends, its queued pieces are discarded, and the allowance of those
// that were sent is lost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include "common/metrics/cells.hpp"
#include "filters/readahead/allowance.hpp"
#include "filters/readahead/asked_ranges.hpp"
#include "filters/readahead/recent_reads.hpp"
#include "filters/readahead/stream.hpp"

namespace nbdstack {

// They count nothing unless somebody measures.
struct PrefetchCounters {
  Counter sent_bytes;
  Counter used_bytes;
};

struct PlannerOptions {
  std::uint64_t disk_size_bytes = 0;
  unsigned streams = 8;
  WindowLimits window;
  std::uint64_t largest_piece_bytes = 1U << 20U;
  PrefetchCounters counters{};
};

class Planner {
 public:
  explicit Planner(const PlannerOptions& options);

  // Returns the pieces to fetch now, in this order. Each read that begins also ends.
  std::vector<Range> read_begins(const Range& read);
  void read_ends(const Range& read);

  // Returns the parts of a piece that are still to be fetched: those not read meanwhile.
  std::vector<Range> fetch_begins(const Range& piece);
  void fetch_failed(const Range& part) { asked_.remove(part); }
  // The piece was discarded before its fetch began.
  void fetch_dropped(const Range& piece) {
    allowance_.give_back(asked_.remove(piece).queued_bytes);
  }

  // For tests and messages.
  [[nodiscard]] std::size_t stream_count() const { return streams_.size(); }
  [[nodiscard]] std::size_t asked_runs() const { return asked_.size(); }
  [[nodiscard]] std::uint64_t allowance_left_bytes() const { return allowance_.left_bytes(); }

 private:
  using Streams = std::list<Stream>;

  [[nodiscard]] std::uint64_t share_of(const Stream& stream) const;
  Stream* stream_of(const Range& read);
  Stream* start_stream(const Range& read);
  void give_up(const Range& range);
  void end_stream(Streams::iterator stream);
  std::vector<Range> ask_for(const std::vector<Range>& window);

  const PlannerOptions options_;
  Streams streams_;  // the most recently read one first
  RecentReads strangers_;
  std::vector<Range> under_way_;  // reads; few, and in no order
  AskedRanges asked_;
  Allowance allowance_;
  std::uint64_t stream_reads_ = 0;  // reads of streams so far
};

}  // namespace nbdstack
