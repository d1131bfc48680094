// The content of a range of a disk: data, or nothing. Lists of extents, in order and without gaps.
#pragma once

#include <cstdint>
#include <vector>

#include "common/block/range.hpp"

namespace nbdstack {

// The two flags of the NBD protocol's base:allocation context; neither set means data.
struct ExtentType {
  bool hole = false;  // no storage is allocated
  bool zero = false;  // reads as zeros

  friend bool operator==(const ExtentType&, const ExtentType&) = default;
};

inline constexpr ExtentType kData{};
inline constexpr ExtentType kHole{.hole = true, .zero = true};

struct Extent {
  Range range;
  ExtentType type;

  friend bool operator==(const Extent&, const Extent&) = default;
};

// Extents in ascending order, each beginning where the one before ends; equal neighbours are
// merged.
class ExtentList {
 public:
  // `range` begins where the list ends (anywhere, for an empty list); an empty range adds nothing.
  void append(const Range& range, ExtentType type);

  // Replaces these extents, which are sorted and disjoint, in the list: the content of a cache is
  // true already, although the layer below does not have it yet. Parts outside the list's own span
  // are ignored.
  void overlay(const std::vector<Extent>& known);

  [[nodiscard]] const std::vector<Extent>& all() const { return extents_; }
  [[nodiscard]] bool empty() const { return extents_.empty(); }
  [[nodiscard]] std::uint64_t end() const {
    return extents_.empty() ? 0 : extents_.back().range.end();
  }

 private:
  std::vector<Extent> extents_;
};

}  // namespace nbdstack
