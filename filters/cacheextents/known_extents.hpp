// The known extents of an export (common/block/known_ranges.hpp), and the queries for the others.
//
//   request                   before it is sent   when it succeeded           when it failed
//   write                     data                data                        unknown
//   zero that must allocate   data                allocated zeros             unknown
//   zero that may punch holes data                unknown                     unknown
//   trim                      data                unknown                     unknown
//
// A range that becomes unknown is queried again. After a trim, or a zero that may punch holes, that
// is necessary: the layer below chooses the result.
//
// A query begins at an unknown offset, and covers all unknown ranges from there on, as far as
// kAskedAhead. A caller whose offset is covered by a query in flight waits for it, once. If the
// reply does not cover that offset, the caller issues its own query.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/block/extents.hpp"
#include "common/block/known_ranges.hpp"

namespace nbdstack {

class KnownExtents final : public KnownRanges {
 public:
  // The length that a reply is expected to cover: NBD's longest query, rounded down to a multiple
  // of every block size. A layer may reply for less, or for more.
  static constexpr std::uint64_t kAskedAhead = (1ULL << 32) - 65536;
  // Extents in one answer: more would keep other callers waiting for the mutex.
  static constexpr std::size_t kMostExtents = 8192;
  // A multiple of every minimum block size that nbdkit knows.
  static constexpr std::uint64_t kGranule = 65536;

  // max_runs is at least 16.
  explicit KnownExtents(std::size_t max_runs)
      : KnownRanges({.runs_max = max_runs}, View::all_connections,
                    [](ExtentType, ExtentType) { return false; }) {}

  // Begins a change: the range counts as data until it ends.
  [[nodiscard]] Change change(const Range& range) EXCLUDES(mutex_);

  // Either extents, at least one, from the beginning of the queried range on, or a query that the
  // caller has to issue to the layer below.
  struct Answer {
    ExtentList extents;
    std::optional<Query> query;
  };
  // `asked` is not empty and lies inside a disk of `size_bytes`. With `only_one` the first extent
  // is enough. May wait for another caller's query.
  Answer look(const Range& asked, std::uint64_t size_bytes, bool only_one) EXCLUDES(mutex_);

  // For tests: the number of callers that wait for another caller's query.
  [[nodiscard]] std::size_t waiting() const EXCLUDES(mutex_);

 private:
  // Returns the extents from the beginning of `asked` on, as far as they are known.
  [[nodiscard]] ExtentList known_from(const Range& asked, bool only_one) const REQUIRES(mutex_);
  // Returns the range from `offset`, which is unknown, to the last unknown offset within
  // kAskedAhead: one query covers many gaps, but not what is known behind the last of them. If that
  // offset is the limit itself, the range extends to the end of the disk: a layer may reply for a
  // much longer hole at once. Ends at a multiple of kGranule.
  [[nodiscard]] Range unknown_from(std::uint64_t offset, std::uint64_t size_bytes) const
      REQUIRES(mutex_);
  // Returns the number of a query in flight whose reply is expected to cover `offset`.
  [[nodiscard]] std::optional<std::uint64_t> query_about(std::uint64_t offset) const
      REQUIRES(mutex_);
  [[nodiscard]] bool is_in_flight(std::uint64_t number) const REQUIRES(mutex_);

  std::size_t waiting_ GUARDED_BY(mutex_) = 0;
};

}  // namespace nbdstack
