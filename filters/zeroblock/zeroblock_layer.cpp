// ZeroBlockLayer's traits, and the requests that change nothing.
#include "filters/zeroblock/zeroblock_layer.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/block/block_size.hpp"
#include "common/block/expect_on_disk.hpp"
#include "common/block/zeros.hpp"
#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/zeroblock/block_bounds.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kExtentsAtOnce = 4096;

LayerTraits traits_over(const LayerTraits& below, std::uint32_t block_size) {
  LayerTraits traits = traits_preferring(below, block_size);
  // The map knows zeros that the layer below cannot report.
  traits.can_extents = true;
  if (below.zero != Support::none) {
    traits.zero = Support::native;
    // Known zeros are done at once; others are refused if the layer below is slow.
    traits.can_fast_zero = true;
  }
  return traits;
}

// Returns the parts of `range` to read: all but `zeros`, if those are at its ends or long.
std::vector<Range> parts_to_read(const Range& range, const std::vector<Extent>& zeros) {
  std::vector<Range> parts;
  const Range middle = zeroblock::without_zeros_at_ends(range, zeros);
  if (middle.empty()) return parts;
  std::uint64_t position = middle.offset;
  ExtentList joined;  // zeros of all types
  for (const Extent& extent : zeros) {
    const Range inside = extent.range.intersection(middle);
    if (inside.empty()) continue;
    if (!joined.empty() && joined.end() != inside.offset) {
      joined.append({joined.end(), inside.offset - joined.end()}, kData);
    }
    joined.append(inside, kHole);
  }
  for (const Extent& extent : joined.all()) {
    if (extent.type != kHole || extent.range.length < ZeroBlockLayer::kLongZeros) continue;
    parts.push_back({position, extent.range.offset - position});
    position = extent.range.end();
  }
  parts.push_back({position, middle.end() - position});
  return parts;
}

}  // namespace

ZeroBlockState::ZeroBlockState(const LayerTraits& below, std::uint32_t block_size,
                               bool verbose_requests,
                               const std::shared_ptr<const DiskIdentity>& identity)
    : verbose(verbose_requests),
      map(BlockGeometry(below.size_bytes, block_size),
          below.can_multi_conn ? ZeroMap::View::all_connections : ZeroMap::View::own_connection),
      writers(identity, [this](const DiskIdentity*) { map.forget_all(); }),
      clients([this] {
        if (scan != nullptr) scan->wake();
      }) {}

void ZeroBlockState::start_scan(std::function<bool()> server_stops) {
  scan = std::make_unique<ExtentScan>(
      ExtentScan::Settings{.name = "zeroblock",
                           .size_bytes = map.geometry().size_bytes(),
                           .ends_at_failure = std::move(server_stops)},
      map, std::make_unique<ClientsBelow>(clients),
      [this](Layer& below, std::uint64_t position) { return ask_from(below, map, position); });
}

// The reply is learnt in parts, so that requests do not wait long while extents enter the map.
std::uint64_t ask_from(Layer& below, ZeroMap& map, std::uint64_t position) {
  const Range range{position, map.geometry().size_bytes() - position};
  ExtentList answer;
  auto query = map.query(range);
  below.extents(range.length, range.offset, false, answer);
  const std::span<const Extent> found = answer.all();
  for (std::size_t at = 0; at < found.size(); at += kExtentsAtOnce) {
    map.learn(query, found.subspan(at, std::min(kExtentsAtOnce, found.size() - at)));
  }
  if (answer.end() <= position) throw Error(EIO, "an answer about extents is empty");
  return answer.end();
}

ZeroBlockLayer::ZeroBlockLayer(LayerBelow layer_below, std::shared_ptr<ZeroBlockState> shared)
    : ForwardingLayer(std::move(layer_below)),
      shared_(std::move(shared)),
      map_(shared_->map),
      geometry_(map_.geometry()),
      traits_(traits_over(below().traits(), geometry_.block_size())),
      loan_(below(), below().traits().can_extents ? &shared_->clients : nullptr) {}

void ZeroBlockLayer::finalize() {
  loan_.take_back();
  below().finalize();
}

void ZeroBlockLayer::explain(const char* request, const Range& range,
                             std::uint64_t bytes_below) const {
  if (!shared_->verbose) return;
  log::debug("zeroblock: {} of {} bytes from block {} on: {} bytes go below", request, range.length,
             geometry_.block_at(range.offset).value, bytes_below);
}

void ZeroBlockLayer::pread(std::span<std::byte> buffer, std::uint64_t offset) {
  const Range range{offset, buffer.size()};
  expect_on_disk(range, geometry_.size_bytes());
  const std::vector<Extent> zeros = trusts_map() ? map_.zeros(range) : std::vector<Extent>();
  if (zeros.empty()) {
    explain("a read", range, range.length);
    read_and_learn(buffer, offset);
    return;
  }
  std::uint64_t position = offset;
  std::uint64_t bytes_below = 0;
  const auto fill_up_to = [&](std::uint64_t end) {
    std::fill_n(buffer.begin() + static_cast<std::ptrdiff_t>(position - offset), end - position,
                std::byte{0});
    position = end;
  };
  for (const Range& part : parts_to_read(range, zeros)) {
    fill_up_to(part.offset);
    read_and_learn(buffer.subspan(part.offset - offset, part.length), part.offset);
    position = part.end();
    bytes_below += part.length;
  }
  fill_up_to(range.end());
  explain("a read", range, bytes_below);
}

// Reads, and remembers blocks of zeros that the layer below stores.
void ZeroBlockLayer::read_and_learn(std::span<std::byte> buffer, std::uint64_t offset) {
  const Range whole = blocks_inside(geometry_, {offset, buffer.size()});
  if (whole.empty()) {
    below().pread(buffer, offset);
    return;
  }
  auto query = map_.query(whole);
  below().pread(buffer, offset);
  std::vector<Extent> found;
  for (std::uint64_t position = whole.offset; position < whole.end();) {
    const Range block = geometry_.range_of(geometry_.block_at(position));
    position = block.end();
    if (!is_zero(buffer.subspan(block.offset - offset, block.length))) continue;
    if (!found.empty() && found.back().range.end() == block.offset) {
      found.back().range.length += block.length;
    } else {
      found.push_back({block, {.hole = false, .zero = true}});
    }
  }
  if (!found.empty() && trusts_map()) map_.learn(query, found);
}

void ZeroBlockLayer::cache(std::uint64_t length, std::uint64_t offset) {
  const Range range{offset, length};
  expect_on_disk(range, geometry_.size_bytes());
  const std::vector<Extent> zeros = trusts_map() ? map_.zeros(range) : std::vector<Extent>();
  const Range wanted = zeroblock::without_zeros_at_ends(range, zeros);
  if (!wanted.empty()) below().cache(wanted.length, wanted.offset);
}

// Looks known zeros up before it queries the layer below, and puts them over its reply: a change
// that passes in between is concurrent, and either order is right. The reply may end early, and so
// may ours.
void ZeroBlockLayer::extents(std::uint64_t length, std::uint64_t offset, bool only_one,
                             ExtentList& extents) {
  const Range range{offset, length};
  expect_on_disk(range, geometry_.size_bytes());
  const std::vector<Extent> known = trusts_map() ? map_.known(range) : std::vector<Extent>();
  ExtentList answer;
  if (!known.empty() && known.front().range.offset == offset) {
    for (const Extent& extent : known) {
      if (!answer.empty() && extent.range.offset != answer.end()) break;
      answer.append(extent.range, extent.type);
    }
  } else {
    ask_and_learn(range, only_one, answer);
    answer.overlay(known);
  }
  for (const Extent& extent : answer.all()) {
    extents.append(extent.range, extent.type);
    if (only_one) break;
  }
}

void ZeroBlockLayer::ask_and_learn(const Range& range, bool only_one, ExtentList& answer) {
  if (!below().traits().can_extents) {
    answer.append(range, kData);
    return;
  }
  auto query = map_.query(range);
  below().extents(range.length, range.offset, only_one, answer);
  if (trusts_map()) map_.learn(query, answer.all());
}

}  // namespace nbdstack
