// The last reads of no stream. Detects when a new read makes a stream of some of them. Externally
// synchronized.
//
// The offsets of reads and the order of their arrival prove a stream:
//
//   sequence  adjacent reads. Each pair of neighbours is evidence for forward if the later one is
//             the higher, else for backward. Two successive pairs are stronger evidence in rhythm:
//             if as many other reads came between the first two reads as between the last two (none
//             for one reader, seven for eight readers of equal speed). Then three reads in order
//             prove a stream, otherwise four. With many requests in flight some overtake others;
//             then a few more reads are needed, and random reads still prove next to nothing.
//   stride    five reads of one length at equal distances, in order. Random reads of a small area
//             are soon at equal distances, so more reads are needed.
//
// Neighbours of a sequence may be apart, or overlap, by a quarter of a read.
//
// The memory is short on purpose: reads that follow each other after a long time are no evidence,
// and in a longer memory random reads look like a stream more often.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "filters/readahead/access_pattern.hpp"

namespace nbdstack {

class RecentReads {
 public:
  // Has room for the beginnings of `streams` interleaved streams.
  explicit RecentReads(std::size_t streams);

  // Returns the stream that `read` proves, and forgets its reads. Otherwise remembers the read.
  std::optional<AccessPattern> add(const Range& read);

 private:
  struct Read {
    Range range;                // empty if there is no read
    std::uint64_t arrival = 0;  // later reads have higher numbers
  };

  std::optional<AccessPattern> find_sequence(const Read& read);
  // Weighs the neighbours in `chain`, from the lowest on: below 0 is evidence for backward.
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
