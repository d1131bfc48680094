// What is known of an export's extents (common/block/known_ranges.hpp), and who asks for the rest.
//
//   what passes               before it is sent   when it succeeded           when it failed
//   write                     data                data                        unknown
//   zero that must allocate   data                allocated zeros             unknown
//   zero that may punch holes data                unknown                     unknown
//   trim                      data                unknown                     unknown
//
// A range that is unknown again is asked about again. What a zero that may punch holes, or a trim,
// has left is the layer below's choice, so it is asked.
//
// Queries: one is begun where nobody knows the answer, and about all that is unknown from there on
// as far as kAskedAhead. A caller whose range a query in flight covers waits for that, once. If the
// reply does not tell of its offset, it asks for itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/block/extents.hpp"
#include "common/block/known_ranges.hpp"

namespace nbdstack {

class KnownExtents final : public KnownRanges {
 public:
  // As far ahead as a query is expected to be answered: the most that NBD can ask about, less so
  // much that it is a multiple of every block size. A layer may tell of less, or of more.
  static constexpr std::uint64_t kAskedAhead = (1ULL << 32) - 65536;
  // Extents in one answer: more would only keep the others waiting for the mutex.
  static constexpr std::size_t kMostExtents = 8192;
  // A multiple of every minimum block size that nbdkit knows.
  static constexpr std::uint64_t kGranule = 65536;

  // max_runs is at least 16.
  explicit KnownExtents(std::size_t max_runs)
      : KnownRanges({.runs_max = max_runs}, View::all_connections,
                    [](ExtentType, ExtentType) { return false; }) {}

  // Begins a change: the range counts as data.
  [[nodiscard]] Change change(const Range& range) EXCLUDES(mutex_);

  // Either extents, at least one, from the beginning of what was asked on, or a query for the caller
  // to put to the layer below.
  struct Answer {
    ExtentList extents;
    std::optional<Query> query;
  };
  // `asked` is not empty and lies inside a disk of `size_bytes`; `only_one`: the first extent will
  // do. May wait for somebody else's query.
  Answer look(const Range& asked, std::uint64_t size_bytes, bool only_one) EXCLUDES(mutex_);

  // How many wait for somebody else's query: for tests.
  [[nodiscard]] std::size_t waiting() const EXCLUDES(mutex_);

 private:
  // The extents from the beginning of `asked` on, as far as they are known.
  [[nodiscard]] ExtentList known_from(const Range& asked, bool only_one) const REQUIRES(mutex_);
  // From `offset`, which is unknown, to the last offset within kAskedAhead that is: one query for
  // many gaps, and none about what is known behind them. Where that is the limit itself, all that
  // follows: a layer may know at once of a hole that is much longer. Ends at a multiple of kGranule.
  [[nodiscard]] Range unknown_from(std::uint64_t offset, std::uint64_t size_bytes) const
      REQUIRES(mutex_);
  // The number of a query whose reply is expected to tell of `offset`.
  [[nodiscard]] std::optional<std::uint64_t> query_about(std::uint64_t offset) const
      REQUIRES(mutex_);
  [[nodiscard]] bool is_in_flight(std::uint64_t number) const REQUIRES(mutex_);

  std::size_t waiting_ GUARDED_BY(mutex_) = 0;
};

}  // namespace nbdstack
