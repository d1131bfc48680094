// ZeroBlockLayer's writing, zeroing and trimming.
#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "common/block/expect_on_disk.hpp"
#include "common/block/zeros.hpp"
#include "common/error.hpp"
#include "filters/zeroblock/block_bounds.hpp"
#include "filters/zeroblock/zeroblock_layer.hpp"

namespace nbdstack {

using zeroblock::Step;
using zeroblock::WritePlan;

bool ZeroBlockLayer::may_drop(Durability durability) {
  return trusts_map() && durability == Durability::on_flush && traits_.can_multi_conn;
}

// The owned range is chosen before the blocks' state is certain: if an end block has turned out to
// be zeros meanwhile, both end blocks are owned whole.
ZeroBlockLayer::OwnedChange ZeroBlockLayer::begin_change(const Range& range) {
  const Range blocks = blocks_around(geometry_, range);
  Range wanted = zeroblock::widened_over_zeros(geometry_, range, map_.zeros(range));
  while (true) {
    RangeLock::Guard owned(shared_->changes, wanted);
    if (auto change = map_.begin_change(blocks, wanted)) {
      return {std::move(owned), std::move(*change)};
    }
    wanted = blocks;
  }
}

void ZeroBlockLayer::end_change(OwnedChange& owned, std::span<const ZeroMap::Content> contents) {
  if (trusts_map()) owned.change.commit(contents);
}

void ZeroBlockLayer::pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                            Durability durability) {
  const Range range{offset, buffer.size()};
  expect_on_disk(range, geometry_.size_bytes());
  const bool droppable = may_drop(durability);
  if (droppable && map_.is_zeros(range) && is_zero(buffer)) {
    explain("a write", range, 0);
    return;
  }
  OwnedChange owned = begin_change(range);
  const std::vector<Extent>& zeros = owned.change.zeros_before();
  const WritePlan plan = zeroblock::plan_write(
      geometry_, zeroblock::widened_over_zeros(geometry_, range, zeros), buffer, offset, zeros,
      {.may_drop = droppable, .can_zero = below().traits().zero == Support::native});
  std::uint64_t bytes_below = 0;
  for (const Step& step : plan.steps) {
    bytes_below += step.range.length;
    if (step.kind == Step::Kind::data) {
      write_run(step.range, buffer, offset, durability);
    } else {
      below().zero(step.range.length, step.range.offset,
                   {.may_trim = true, .fast = false, .durability = durability});
    }
  }
  end_change(owned, plan.contents);
  explain("a write", range, bytes_below);
}

// The parts of `run` outside the request are zeros.
void ZeroBlockLayer::write_run(const Range& run, std::span<const std::byte> buffer,
                               std::uint64_t offset, Durability durability) {
  expect_on_disk(run, geometry_.size_bytes());
  const Range given = run.intersection({offset, buffer.size()});
  std::span<const std::byte> data = buffer.subspan(given.offset - offset, given.length);
  std::vector<std::byte> padded;
  if (given != run) {
    padded.resize(run.length);
    std::copy(data.begin(), data.end(),
              padded.begin() + static_cast<std::ptrdiff_t>(given.offset - run.offset));
    data = padded;
  }
  // Sends one request, unless widening has made it longer than the layer below accepts.
  const std::size_t longest = traits_.maximum_block_size;
  for (std::size_t done = 0; done < data.size(); done += longest) {
    below().pwrite(data.subspan(done, std::min(longest, data.size() - done)), run.offset + done,
                   durability);
  }
}

void ZeroBlockLayer::zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) {
  const Range range{offset, length};
  expect_on_disk(range, geometry_.size_bytes());
  const bool droppable = may_drop(options.durability);
  if (droppable && options.may_trim && map_.is_zeros(range)) {
    explain("a zero", range, 0);
    return;
  }
  OwnedChange owned = begin_change(range);
  const std::vector<Extent>& zeros = owned.change.zeros_before();
  const Range widened = zeroblock::widened_over_zeros(geometry_, range, zeros);
  Range sent = widened;
  if (droppable) {
    std::vector<Extent> enough = zeros;
    // A client that asks for zeros without holes wants them allocated in the storage.
    if (!options.may_trim)
      std::erase_if(enough, [](const Extent& known) { return known.type.hole; });
    sent = zeroblock::without_zeros_at_ends(widened, enough);
  }
  std::vector<ZeroMap::Content> contents;
  if (sent.empty()) {
    zeroblock::keep_zeros(zeros, widened, sent, contents);
  } else if (zero_below(sent, options)) {
    const bool can_zero = below().traits().zero == Support::native;
    zeroblock::keep_zeros(zeros, widened, sent, contents);
    contents.push_back({blocks_inside(geometry_, sent),
                        ExtentType{.hole = options.may_trim && can_zero, .zero = true}});
  } else {
    // Nothing has changed, or some blocks have become zeros and are not known to be.
    zeroblock::keep_zeros(zeros, widened, {widened.offset, 0}, contents);
    end_change(owned, contents);
    throw Error(ENOTSUP, "zeroblock: these zeros are new, and the layer below is not fast");
  }
  end_change(owned, contents);
  explain("a zero", range, sent.length);
}

// Returns false if it would not be fast.
bool ZeroBlockLayer::zero_below(const Range& range, const ZeroOptions& options) {
  expect_on_disk(range, geometry_.size_bytes());
  if (options.fast && !below().traits().can_fast_zero) return false;
  try {
    below().zero(range.length, range.offset, options);
    return true;
  } catch (const Error& error) {
    if (options.fast && error.code() == ENOTSUP) return false;
    throw;
  }
}

void ZeroBlockLayer::trim(std::uint64_t length, std::uint64_t offset, Durability durability) {
  const Range range{offset, length};
  expect_on_disk(range, geometry_.size_bytes());
  const bool droppable = may_drop(durability);
  if (droppable && map_.is_hole(range)) {
    explain("a trim", range, 0);
    return;
  }
  OwnedChange owned = begin_change(range);
  const std::vector<Extent>& zeros = owned.change.zeros_before();
  Range sent = range;
  if (droppable) {
    std::vector<Extent> holes = zeros;
    std::erase_if(holes, [](const Extent& extent) { return extent.type != kHole; });
    sent = zeroblock::without_zeros_at_ends(range, holes);
  }
  std::vector<ZeroMap::Content> contents;
  const Range blocks = blocks_around(geometry_, range);
  if (sent.empty()) {
    zeroblock::keep_zeros(zeros, blocks, sent, contents);
  } else {
    below().trim(sent.length, sent.offset, durability);
    const Range touched = blocks_around(geometry_, sent);
    zeroblock::keep_zeros(zeros, blocks, touched, contents);
    contents.push_back({touched, std::nullopt});
  }
  end_change(owned, contents);
  explain("a trim", range, sent.length);
}

}  // namespace nbdstack
