// Maps blocks to values, both for long stretches of equal ones and for those that change block by
// block: a run takes a node (common/block/run_map.hpp), and a page of many runs a byte a block.
//
//   page of 1,024 blocks   stored as                           becomes the other
//   sparse                 runs, which may exceed the page     with more than kRuns_max runs
//   dense                  a byte for each block               with half as many, or when all of it
//                                                              is overwritten
//
// So memory is a little more than a byte a block at worst, and next to nothing for a long run: a
// disk of any size begins as one.
//
// Errors: std::bad_alloc. If assign() or erase() fails, some blocks of the range may have their new
// value already, and all others have their old one.
//
// Externally synchronized.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/block/range.hpp"
#include "common/block/run_map.hpp"

namespace nbdstack {

// Value is an enum whose values are below 255.
template <typename Value>
class BlockStates {
 public:
  using Run = typename RunMap<Value>::Run;
  static constexpr std::uint64_t kPageBlocks = 1024;
  static constexpr std::size_t kRuns_max = 16;  // of a page, about as large as a dense one

  void assign(const Range& blocks, Value value) { set(blocks, value); }
  void erase(const Range& blocks) { set(blocks, std::nullopt); }

  [[nodiscard]] std::optional<Value> find(std::uint64_t block) const {
    const auto page = pages_.find(block / kPageBlocks);
    if (page != pages_.end()) return value_of((*page->second)[block % kPageBlocks]);
    const auto run = runs_.find(block);
    return run.has_value() ? std::optional(run->value) : std::nullopt;
  }

  // Returns the runs in the range that have a value, in order. Neighbours may have equal values.
  [[nodiscard]] std::vector<Run> overlapping(const Range& blocks) const {
    std::vector<Run> found;
    std::uint64_t position = blocks.offset;
    for (auto page = pages_.lower_bound(blocks.offset / kPageBlocks);
         page != pages_.end() && page->first * kPageBlocks < blocks.end(); ++page) {
      const Range dense = range_of(page->first).intersection(blocks);
      append_sparse({position, dense.offset - position}, found);
      append_dense(*page->second, dense, found);
      position = dense.end();
    }
    append_sparse({position, blocks.end() - position}, found);
    return found;
  }

  // Returns the number of nodes and pages.
  [[nodiscard]] std::size_t size() const { return runs_.size() + pages_.size(); }

 private:
  using Cell = std::uint8_t;  // 0 for no value, else the value plus 1
  using Cells = std::array<Cell, kPageBlocks>;
  using Pages = std::map<std::uint64_t, std::unique_ptr<Cells>>;

  static Cell cell_of(std::optional<Value> value) {
    return value.has_value() ? static_cast<Cell>(static_cast<Cell>(*value) + 1) : Cell{0};
  }
  static std::optional<Value> value_of(Cell cell) {
    return cell == 0 ? std::nullopt : std::optional(static_cast<Value>(cell - 1));
  }
  static Range range_of(std::uint64_t page) { return {page * kPageBlocks, kPageBlocks}; }
  static std::uint64_t page_at(std::uint64_t block) { return block / kPageBlocks; }

  void set(const Range& blocks, std::optional<Value> value) {
    if (blocks.empty()) return;
    std::uint64_t first = blocks.offset;
    std::uint64_t end = blocks.end();
    // Only at the ends of the range may a dense page be covered in part.
    if (set_in_dense(page_at(first), blocks, value)) {
      first = std::min(end, range_of(page_at(first)).end());
    }
    if (first < end && set_in_dense(page_at(end - 1), blocks, value)) {
      end = std::max(first, range_of(page_at(end - 1)).offset);
    }
    if (first == end) return;
    const Range rest{first, end - first};
    set_runs(rest, value);
    pages_.erase(pages_.lower_bound(page_at(first + kPageBlocks - 1)),
                 pages_.lower_bound(page_at(end)));
    make_dense_if_crowded(page_at(first));
    make_dense_if_crowded(page_at(end - 1));
  }

  void set_runs(const Range& blocks, std::optional<Value> value) {
    if (value.has_value()) {
      runs_.assign(blocks, *value);
    } else {
      runs_.erase(blocks);
    }
  }

  // Sets the part of the range in this page, if the page is dense and not all of it is overwritten.
  // Returns whether that was so.
  bool set_in_dense(std::uint64_t page, const Range& blocks, std::optional<Value> value) {
    const auto found = pages_.find(page);
    const Range part = range_of(page).intersection(blocks);
    if (found == pages_.end() || part.length == kPageBlocks) return false;
    Cells& cells = *found->second;
    std::fill_n(cells.begin() + part.offset % kPageBlocks, part.length, cell_of(value));
    if (runs_in(cells) <= kRuns_max / 2) make_sparse(found);
    return true;
  }

  static std::size_t runs_in(const Cells& cells) {
    std::size_t runs = 1;
    for (std::size_t i = 1; i < cells.size(); ++i) runs += cells[i] != cells[i - 1] ? 1 : 0;
    return runs;
  }

  // If it fails the dense page still counts, whatever runs_ has for it.
  void make_sparse(typename Pages::iterator page) {
    std::vector<Run> runs;
    append_dense(*page->second, range_of(page->first), runs);
    runs_.erase(range_of(page->first));
    for (const Run& run : runs) runs_.assign(run.range, run.value);
    pages_.erase(page);
  }

  void make_dense_if_crowded(std::uint64_t page) {
    const auto runs = runs_.overlapping(range_of(page));
    if (runs.size() <= kRuns_max) return;
    Pages added;
    Cells& cells = *added.emplace(page, std::make_unique<Cells>()).first->second;
    for (const Run& run : runs) {
      std::fill_n(cells.begin() + run.range.offset % kPageBlocks, run.range.length,
                  cell_of(run.value));
    }
    runs_.erase(range_of(page));
    pages_.insert(added.extract(added.begin()));
  }

  void append_sparse(const Range& blocks, std::vector<Run>& found) const {
    if (blocks.empty()) return;
    const auto runs = runs_.overlapping(blocks);
    found.insert(found.end(), runs.begin(), runs.end());
  }

  static void append_dense(const Cells& cells, const Range& blocks, std::vector<Run>& found) {
    for (std::uint64_t block = blocks.offset; block < blocks.end();) {
      const Cell cell = cells[block % kPageBlocks];
      const std::uint64_t first = block;
      while (block < blocks.end() && cells[block % kPageBlocks] == cell) ++block;
      if (cell != 0) found.push_back({{first, block - first}, *value_of(cell)});
    }
  }

  RunMap<Value> runs_;  // of sparse pages
  Pages pages_;         // dense ones
};

}  // namespace nbdstack
