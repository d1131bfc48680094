// Md5Layer: reading and verifying.
#include <algorithm>
#include <optional>
#include <vector>

#include "common/error.hpp"
#include "filters/md5/md5_layer.hpp"

namespace nbdstack {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(20);
constexpr Duration kLongestPause = std::chrono::seconds(2);

std::int64_t in_ms(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

void Md5Layer::pread(std::span<std::byte> buffer, std::uint64_t offset) {
  const Range asked{offset, buffer.size()};
  const DigestTable::Watch watch = shared_->table.watch(asked, geometry_);
  Range wide = asked;
  if (!watch.blocks.empty()) {
    // Only the ends of what was asked for can be parts of blocks.
    const Range first = geometry_.range_of(watch.blocks.front().first);
    const Range last = geometry_.range_of(watch.blocks.back().first);
    wide.offset = std::min(asked.offset, first.offset);
    wide.length = std::max(asked.end(), last.end()) - wide.offset;
  }
  if (wide == asked) {
    read_and_verify(buffer, offset, watch);
    return;
  }
  std::vector<std::byte> data(wide.length);
  read_and_verify(data, wide.offset, watch);
  const auto first = data.begin() + static_cast<std::ptrdiff_t>(offset - wide.offset);
  std::copy_n(first, buffer.size(), buffer.begin());
}

// In one request, unless widening has made it longer than the layer below takes.
void Md5Layer::read_below(std::span<std::byte> buffer, std::uint64_t offset) {
  const std::size_t longest = traits_.maximum_block_size;
  for (std::size_t done = 0; done < buffer.size(); done += longest) {
    const auto part = buffer.subspan(done, std::min(longest, buffer.size() - done));
    below_.pread(part, offset + done);
  }
}

void Md5Layer::read_and_verify(std::span<std::byte> buffer, std::uint64_t offset,
                               const DigestTable::Watch& watch) {
  read_below(buffer, offset);
  for (const auto& [block, expectation] : watch.blocks) {
    const Range range = geometry_.range_of(block);
    const auto data = buffer.subspan(range.offset - offset, range.length);
    if (expectation.accepts(md5(data))) {
      explain("md5: read of block {}: verified", block.value);
    } else {
      read_until_right(block, data, Owner::nobody);
    }
  }
}

// Found wrong, or not looked at yet. What was found before does not count: a write may have passed
// while it was read.
void Md5Layer::read_until_right(BlockNumber block, std::span<std::byte> data, Owner owner) {
  const Duration retry_time = shared_->options.retry_time;
  Clock& clock = shared_->clock;
  TimePoint deadline{};
  Duration pause = kFirstPause;
  for (unsigned reads = 1;; ++reads) {
    const auto wrong = read_again(block, data, owner);
    if (!wrong) {
      if (reads > 1) log::debug("md5: block {} was read right at attempt {}", block.value, reads);
      return;
    }
    const TimePoint now = clock.now();
    if (reads == 1) {
      deadline = now + retry_time;
      log::debug(
          "md5: block {} is not what was last written (expected MD5 {}, found {}): reading "
          "again for up to {} ms",
          block.value, to_hex(wrong->expected), to_hex(wrong->found), in_ms(retry_time));
    }
    if (now >= deadline) {
      throw Error(EIO, fmt::format("md5: block {} (offset {}, {} bytes): expected MD5 {}, found {} "
                                   "after {} reads in {} ms: the layer below returns old or "
                                   "damaged data",
                                   block.value, geometry_.offset_of(block), data.size(),
                                   to_hex(wrong->expected), to_hex(wrong->found), reads,
                                   in_ms(now - deadline + retry_time)));
    }
    clock.sleep_for(std::min(pause, deadline - now));
    pause = std::min(pause * 2, kLongestPause);
  }
}

// One attempt, with no change of the block under way: what is found is right, or wrong, or there is
// nothing left to judge it by (the block became unknown meanwhile).
std::optional<Md5Layer::Mismatch> Md5Layer::read_again(BlockNumber block, std::span<std::byte> data,
                                                       Owner owner) {
  std::optional<RangeLock::Guard> owned;
  if (owner == Owner::nobody) owned.emplace(shared_->changes, geometry_.range_of(block));
  read_below(data, geometry_.offset_of(block));
  const auto expected = shared_->table.remembered(block, static_cast<std::uint32_t>(data.size()));
  if (!expected) {
    explain("md5: read of block {}: unknown by now, passed", block.value);
    return std::nullopt;
  }
  const Md5Digest found = md5(data);
  if (found == *expected) return std::nullopt;
  return Mismatch{*expected, found};
}

}  // namespace nbdstack
