// What to fetch ahead for one export, from the reads of all of its clients.
//
// A read belongs to a stream that is known (stream.hpp), or may prove a new one with others that
// belong to none (recent_reads.hpp). There is room for some streams; a new one takes the place of
// that which was read longest ago. A read of a stream may move its window: the part of it that
// nobody has asked for (asked_ranges.hpp) and no read is under way for is asked for, as far as the
// allowance goes (allowance.hpp), of which the streams that are being read have equal shares, and
// of which a part is kept from those that are no more than a guess. Reads that belong to no stream
// fetch nothing.
//
// What is asked for comes in pieces, cut at multiples of the largest piece, so that several are
// fetched at once, whole blocks of the layer below each.
//
// A fetch that fails is forgotten: it is not tried again, and what was spent for it is not given
// back, so that a layer that fails for long is hardly bothered. A stream that is given up loses
// what it had asked for; what is still queued of it is not fetched any more.
//
// No locking: the owner holds its mutex around every call. Nothing here calls anybody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include "filters/readahead/allowance.hpp"
#include "filters/readahead/asked_ranges.hpp"
#include "filters/readahead/recent_reads.hpp"
#include "filters/readahead/stream.hpp"

namespace nbdstack {

struct PlannerOptions {
  std::uint64_t disk_size_bytes = 0;
  unsigned streams = 8;
  WindowLimits window;
  std::uint64_t largest_piece_bytes = 1U << 20U;
};

class Planner {
 public:
  explicit Planner(const PlannerOptions& options);

  // Pieces to fetch now, in this order. Each read that begins also ends.
  std::vector<Range> read_begins(const Range& read);
  void read_ends(const Range& read);

  // What is still to be fetched of a piece: parts that have been read meanwhile are not.
  std::vector<Range> fetch_begins(const Range& piece) { return asked_.send(piece); }
  void fetch_failed(const Range& part) { asked_.remove(part); }
  // The piece has been dropped before its fetch began.
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
  Streams streams_;  // that which was read last comes first
  RecentReads strangers_;
  std::vector<Range> under_way_;  // reads; few, and in no order
  AskedRanges asked_;
  Allowance allowance_;
  std::uint64_t stream_reads_ = 0;  // reads of streams so far
};

}  // namespace nbdstack
