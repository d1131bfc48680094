// Maps ranges to values: finds the value of the byte (or block) at an offset.
//
// The map consists of disjoint half-open runs [offset, end) with values, for properties of long
// stretches of a disk that would be wasteful to store block by block: "dirty zeros", "known to be a
// hole". The caller chooses one unit for a map: bytes or block numbers.
//
// Invariants:
//  - runs are not empty and do not overlap;
//  - two runs that touch have different values: neighbours with equal values become one run.
//
// Costs: O(log n + runs touched), and one node a run. Offsets are 64 bits and no sum exceeds the
// end of a range, so every range that ends at or below 2^64 - 1 works, including the last byte of
// the largest disk of NBD (2^63 - 1 bytes).
//
// Errors: std::bad_alloc, or an exception of copying a value. If assign() or erase() fails, no
// offset has changed its value, though one run may have been split into two with equal values.
//
// No locking: the owner holds its mutex around every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <vector>

#include "common/block/range.hpp"

namespace nbdstack {

// Value is copied, and compared with ==.
template <typename Value>
class RunMap {
 public:
  struct Run {
    Range range;
    Value value;

    friend bool operator==(const Run&, const Run&) = default;
  };

  // Gives every offset in `range` this value. An empty range changes nothing.
  void assign(const Range& range, const Value& value) {
    if (range.empty()) return;
    Runs added;
    added.emplace(range.offset, Tail{range.end(), value});
    erase(range);
    merge_around(runs_.insert(added.extract(added.begin())).position);
  }

  // Removes the values of all offsets in `range`. An empty range changes nothing.
  void erase(const Range& range) {
    if (range.empty()) return;
    cut(range.offset);
    cut(range.end());
    runs_.erase(runs_.lower_bound(range.offset), runs_.lower_bound(range.end()));
  }

  void clear() { runs_.clear(); }

  // Returns the run that contains `offset`.
  [[nodiscard]] std::optional<Run> find(std::uint64_t offset) const {
    const auto found = ending_after(offset);
    if (found == runs_.end() || found->first > offset) return std::nullopt;
    return run_at(found);
  }

  // Returns the run that contains `offset`, or else the first one behind it.
  [[nodiscard]] std::optional<Run> next(std::uint64_t offset) const {
    return run_at(ending_after(offset));
  }

  [[nodiscard]] std::optional<Run> first() const { return run_at(runs_.begin()); }

  // Returns the range from the first run to the last; empty without one.
  [[nodiscard]] Range span() const {
    if (runs_.empty()) return {};
    return {runs_.begin()->first, runs_.rbegin()->second.end - runs_.begin()->first};
  }

  // Returns the part of each run that `range` covers, in ascending order.
  [[nodiscard]] std::vector<Run> overlapping(const Range& range) const {
    std::vector<Run> parts;
    if (range.empty()) return parts;
    for (auto at = ending_after(range.offset); at != runs_.end() && at->first < range.end(); ++at) {
      parts.push_back({range_at(at).intersection(range), at->second.value});
    }
    return parts;
  }

  // Returns whether anything in `range` has a value.
  [[nodiscard]] bool overlaps(const Range& range) const {
    if (range.empty()) return false;
    const auto found = ending_after(range.offset);
    return found != runs_.end() && found->first < range.end();
  }

  [[nodiscard]] std::size_t size() const { return runs_.size(); }  // in runs
  [[nodiscard]] bool empty() const { return runs_.empty(); }

 private:
  struct Tail {
    std::uint64_t end;
    Value value;
  };
  using Runs = std::map<std::uint64_t, Tail>;  // by offset
  using Position = typename Runs::const_iterator;

  static Range range_at(Position at) { return {at->first, at->second.end - at->first}; }

  [[nodiscard]] std::optional<Run> run_at(Position at) const {
    if (at == runs_.end()) return std::nullopt;
    return Run{range_at(at), at->second.value};
  }

  // Returns the first run that ends behind `offset`: the one that contains it, or the next.
  [[nodiscard]] Position ending_after(std::uint64_t offset) const {
    const auto behind = runs_.upper_bound(offset);
    if (behind == runs_.begin()) return behind;
    const auto before = std::prev(behind);
    return before->second.end > offset ? before : behind;
  }

  // Makes `offset` a border between two runs, if it is inside one. The second half is inserted
  // before the first one is shortened, so that a failed allocation changes nothing.
  void cut(std::uint64_t offset) {
    const auto behind = runs_.lower_bound(offset);
    if (behind == runs_.begin()) return;
    const auto before = std::prev(behind);
    if (before->second.end <= offset) return;
    runs_.emplace_hint(behind, offset, before->second);
    before->second.end = offset;
  }

  // Joins a run with its neighbours if they touch and have its value.
  void merge_around(typename Runs::iterator at) {
    if (const auto after = std::next(at); after != runs_.end()) merge(at, after);
    if (at != runs_.begin()) merge(std::prev(at), at);
  }

  void merge(typename Runs::iterator first, typename Runs::iterator second) {
    if (first->second.end != second->first) return;
    if (!(first->second.value == second->second.value)) return;
    first->second.end = second->second.end;
    runs_.erase(second);
  }

  Runs runs_;
};

}  // namespace nbdstack
