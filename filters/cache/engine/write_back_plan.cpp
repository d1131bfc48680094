#include "filters/cache/engine/write_back_plan.hpp"

#include <algorithm>
#include <bit>
#include <span>

namespace nbdstack {
namespace {

using Kind = WriteRequest::Kind;

// Consecutive bytes that are written in one way.
struct Run {
  Kind kind;
  Range range;
};

class Planner {
 public:
  explicit Planner(const WritePlanLimits& limits)
      : limits_(limits),
        pages_(limits.block_size),
        preferred_(std::bit_ceil(std::max<std::uint64_t>(1, limits.preferred_block_size))),
        unit_(std::max<std::uint64_t>(limits.block_size, preferred_)) {}

  std::vector<WriteRequest> plan(std::span<const BlockToWrite> blocks) {
    while (!blocks.empty()) {
      const std::uint64_t unit = blocks.front().range.offset / unit_;
      std::size_t count = 1;
      while (count < blocks.size() && blocks[count].range.offset / unit_ == unit) ++count;
      plan_unit(unit * unit_, blocks.first(count));
      blocks = blocks.subspan(count);
    }
    return std::move(requests_);
  }

 private:
  void plan_unit(std::uint64_t offset, std::span<const BlockToWrite> blocks) {
    const Range unit{offset, std::min(unit_, limits_.disk_size_bytes - offset)};
    const std::vector<Run> runs = runs_of(blocks);
    const std::vector<Range> missing = missing_in(unit, blocks);
    const auto is_data = [](const Run& run) { return run.kind == Kind::data; };
    // Zeros become data only if the layer below would write all of the unit in any case.
    const bool only_data = std::all_of(runs.begin(), runs.end(), is_data);
    const bool some_data = std::any_of(runs.begin(), runs.end(), is_data);
    const bool may_complete = (only_data || (some_data && preferred_ > pages_.page_size())) &&
                              unit.length <= limits_.longest_bytes;
    const std::uint64_t completed_cost = missing.empty() ? 1 : 2;
    if (may_complete && completed_cost < cost_apart(runs)) {
      add({Kind::data, unit, missing});
      return;
    }
    for (const Run& run : runs) add({run.kind, run.range, {}});
  }

  // Dirty runs in order; two runs of data with nothing but known clean pages between are one.
  [[nodiscard]] std::vector<Run> runs_of(std::span<const BlockToWrite> blocks) const {
    std::vector<Run> runs;
    std::uint64_t known_until = 0;  // from the end of the last run on, content is known up to here
    for (const BlockToWrite& block : blocks) {
      const auto length = static_cast<std::uint32_t>(block.range.length);
      for_each_page_run(pages_.all(length), [&](unsigned first, unsigned count) {
        for (unsigned page = first; page < first + count; ++page) {
          const PageMask bit = page_run(page, 1);
          const Range range = page_range(block, page);
          if ((block.pages & bit) != 0) {
            append(runs, {kind_of(block, bit), range}, known_until);
            known_until = range.end();
          } else if ((block.readable & bit) != 0 && known_until == range.offset) {
            known_until = range.end();
          }
        }
      });
    }
    return runs;
  }

  static Kind kind_of(const BlockToWrite& block, PageMask bit) {
    if ((block.zero & bit) == 0) return Kind::data;
    return (block.hole & bit) != 0 ? Kind::hole : Kind::zero;
  }

  static void append(std::vector<Run>& runs, const Run& next, std::uint64_t known_until) {
    const bool same = !runs.empty() && runs.back().kind == next.kind;
    const bool touches = same && runs.back().range.end() == next.range.offset;
    const bool bridged = same && next.kind == Kind::data && known_until == next.range.offset;
    if (touches || bridged) {
      runs.back().range.length = next.range.end() - runs.back().range.offset;
    } else {
      runs.push_back(next);
    }
  }

  [[nodiscard]] std::uint64_t cost_apart(const std::vector<Run>& runs) const {
    std::uint64_t cost = 0;
    for (const Run& run : runs) {
      cost += 1;
      if (preferred_ <= pages_.page_size()) continue;
      const std::uint64_t first = run.range.offset / preferred_;
      const std::uint64_t last = (run.range.end() - 1) / preferred_;
      const bool whole_end =
          run.range.end() % preferred_ == 0 || run.range.end() == limits_.disk_size_bytes;
      const bool whole_begin = run.range.offset % preferred_ == 0;
      if (first == last) {
        cost += whole_begin && whole_end ? 0 : 1;
      } else {
        cost += (whole_begin ? 0U : 1U) + (whole_end ? 0U : 1U);
      }
    }
    return cost;
  }

  // Returns the parts of a unit that the cache does not know, one range for each gap.
  [[nodiscard]] std::vector<Range> missing_in(const Range& unit,
                                              std::span<const BlockToWrite> blocks) const {
    std::vector<Range> missing;
    std::uint64_t position = unit.offset;
    const auto known = [&](const Range& range) {
      if (range.offset > position) missing.push_back({position, range.offset - position});
      position = range.end();
    };
    for (const BlockToWrite& block : blocks) {
      for_each_page_run(block.readable, [&](unsigned first, unsigned count) {
        const std::uint64_t begin = block.range.offset + pages_.offset_of(first);
        const std::uint64_t end =
            std::min(block.range.end(), begin + std::uint64_t{count} * pages_.page_size());
        known({begin, end - begin});
      });
    }
    known({unit.end(), 0});
    return missing;
  }

  [[nodiscard]] Range page_range(const BlockToWrite& block, unsigned page) const {
    const std::uint64_t begin = block.range.offset + pages_.offset_of(page);
    return {begin, std::min<std::uint64_t>(pages_.page_size(), block.range.end() - begin)};
  }

  // Joins neighbours of one kind, and cuts data that is longer than the layer below accepts.
  void add(WriteRequest request) {
    while (request.kind == Kind::data && request.range.length > limits_.longest_bytes) {
      requests_.push_back({Kind::data, {request.range.offset, limits_.longest_bytes}, {}});
      request.range.offset += limits_.longest_bytes;
      request.range.length -= limits_.longest_bytes;
    }
    if (!requests_.empty()) {
      WriteRequest& last = requests_.back();
      const std::uint64_t together = last.range.length + request.range.length;
      const bool fits = request.kind != Kind::data || together <= limits_.longest_bytes;
      if (last.kind == request.kind && last.range.end() == request.range.offset && fits) {
        last.range.length = together;
        last.missing.insert(last.missing.end(), request.missing.begin(), request.missing.end());
        return;
      }
    }
    requests_.push_back(std::move(request));
  }

  const WritePlanLimits& limits_;
  const PageGeometry pages_;
  const std::uint64_t preferred_;
  const std::uint64_t unit_;
  std::vector<WriteRequest> requests_;
};

}  // namespace

std::vector<WriteRequest> plan_writes(const std::vector<BlockToWrite>& blocks,
                                      const WritePlanLimits& limits) {
  return Planner(limits).plan(blocks);
}

}  // namespace nbdstack
