// The last reads that belong to no stream, and whether a new one makes a stream of some of them.
//
// A stream is proven by the places of reads and the order of their arrival:
//
//   sequence  reads that adjoin each other. Of two neighbours the later one has to be the higher
//             for a stream that goes forward, the lower for one that goes backward. Pairs speak for
//             one direction or the other, and louder when two that follow each other are in
//             rhythm: when as many reads came between the first two as between the last two, which
//             are none for one reader, and seven for eight who read as fast as each other. Three
//             reads in order prove a stream then, four otherwise. With many requests in flight some
//             overtake others; then it takes a few reads more, and chance still proves next to
//             nothing.
//   stride    five reads of one length at equal distances, in order. Reads of a small area are soon
//             at equal distances by chance, which is why more of them are asked for.
//
// Neighbours of a sequence may lie apart, or overlap, by a quarter of a read.
//
// The memory is short on purpose: reads that follow each other after long are no evidence, and the
// longer it is, the more often random reads look like a stream.
//
// No locking: the owner holds its mutex around every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "filters/readahead/access_pattern.hpp"

namespace nbdstack {

class RecentReads {
 public:
  // Room for the beginnings of so many streams whose reads come in turn.
  explicit RecentReads(std::size_t streams);

  // The stream that `read` proves; its reads are forgotten here. Otherwise the read is remembered.
  std::optional<AccessPattern> add(const Range& read);

 private:
  struct Read {
    Range range;                // empty: none
    std::uint64_t arrival = 0;  // later reads have higher numbers
  };

  std::optional<AccessPattern> find_sequence(const Read& read);
  // What the neighbours in `chain`, from the lowest on, say for forward; below 0: for backward.
  [[nodiscard]] static int evidence_for_forward(const std::vector<Read>& chain);
  [[nodiscard]] std::optional<AccessPattern> find_stride(const Read& read) const;
  [[nodiscard]] bool continues_stride(const Read& read, const Read& before) const;
  [[nodiscard]] Read* nearest_below(const Range& range);
  [[nodiscard]] Read* nearest_above(const Range& range);
  [[nodiscard]] bool is_fresh(const Read& read) const;

  std::vector<Read> reads_;  // a ring
  std::size_t oldest_ = 0;   // of reads_
  std::uint64_t arrivals_ = 0;
};

}  // namespace nbdstack
