#include "filters/zeroblock/client_write_plan.hpp"

#include <algorithm>

#include "common/block/zeros.hpp"
#include "filters/zeroblock/block_bounds.hpp"

namespace nbdstack::zeroblock {
namespace {

constexpr ExtentType kStoredZeros{.hole = false, .zero = true};

bool covers(std::span<const Extent> zeros, std::uint64_t offset) {
  return std::any_of(zeros.begin(), zeros.end(), [&](const Extent& extent) {
    return extent.range.contains({offset, 1});
  });
}

// Consecutive blocks of a write that are treated alike.
struct Run {
  enum class Kind : std::uint8_t { zeros, data, part };
  Kind kind;
  Range range;
};

void append(std::vector<Run>& runs, const Run& run) {
  if (runs.empty() || runs.back().kind != run.kind) {
    runs.push_back(run);
  } else {
    runs.back().range.length += run.range.length;
  }
}

void append(std::vector<Step>& steps, const Step& step) {
  if (!steps.empty() && steps.back().kind == step.kind &&
      steps.back().range.end() == step.range.offset) {
    steps.back().range.length += step.range.length;
  } else {
    steps.push_back(step);
  }
}

std::vector<Run> runs_of(const BlockGeometry& geometry, const Range& range,
                         std::span<const std::byte> data, std::uint64_t data_offset) {
  std::vector<Run> runs;
  const Range has_data{data_offset, data.size()};
  for (std::uint64_t position = range.offset; position < range.end();) {
    const Range block = geometry.range_of(geometry.block_at(position));
    const Range piece = block.intersection(range);
    const Range filled = piece.intersection(has_data);
    if (piece != block) {
      append(runs, {Run::Kind::part, piece});
    } else if (is_zero(data.subspan(filled.offset - data_offset, filled.length))) {
      append(runs, {Run::Kind::zeros, piece});
    } else {
      append(runs, {Run::Kind::data, piece});
    }
    position = piece.end();
  }
  return runs;
}

}  // namespace

Range widened_over_zeros(const BlockGeometry& geometry, const Range& range,
                         std::span<const Extent> zeros) {
  const Range around = blocks_around(geometry, range);
  const std::uint64_t first = covers(zeros, range.offset) ? around.offset : range.offset;
  const std::uint64_t end = covers(zeros, range.end() - 1) ? around.end() : range.end();
  return {first, end - first};
}

Range without_zeros_at_ends(const Range& range, std::span<const Extent> zeros) {
  std::uint64_t first = range.offset;
  std::uint64_t end = range.end();
  for (const Extent& extent : zeros) {
    if (extent.range.offset <= first && first < extent.range.end()) first = extent.range.end();
  }
  std::for_each(zeros.rbegin(), zeros.rend(), [&](const Extent& extent) {
    if (extent.range.offset < end && end <= extent.range.end()) end = extent.range.offset;
  });
  return first < end ? Range{first, end - first} : Range{range.offset, 0};
}

void keep_zeros(std::span<const Extent> zeros, const Range& range, const Range& changed,
                std::vector<ZeroMap::Content>& contents) {
  const std::uint64_t changed_end = std::max(changed.end(), range.offset);
  const Range before{range.offset, std::max(changed.offset, range.offset) - range.offset};
  const Range behind{changed_end, range.end() - changed_end};
  for (const Extent& extent : zeros) {
    for (const Range& side : {before, behind}) {
      const Range kept = extent.range.intersection(side);
      if (!kept.empty()) contents.push_back({kept, extent.type});
    }
  }
}

WritePlan plan_write(const BlockGeometry& geometry, const Range& range,
                     std::span<const std::byte> data, std::uint64_t data_offset,
                     std::span<const Extent> zeros_before, const PlanOptions& options) {
  WritePlan plan;
  for (const Run& run : runs_of(geometry, range, data, data_offset)) {
    if (run.kind != Run::Kind::zeros) {
      append(plan.steps, {Step::Kind::data, run.range});
      if (run.kind == Run::Kind::data) plan.contents.push_back({run.range, kData});
      continue;
    }
    const Range sent =
        options.may_drop ? without_zeros_at_ends(run.range, zeros_before) : run.range;
    keep_zeros(zeros_before, run.range, sent, plan.contents);
    if (sent.empty()) continue;
    append(plan.steps, {options.can_zero ? Step::Kind::zeros : Step::Kind::data, sent});
    plan.contents.push_back({sent, options.can_zero ? kHole : kStoredZeros});
  }
  return plan;
}

}  // namespace nbdstack::zeroblock
