// Md5Layer's reading and verifying.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "common/block/expect_on_disk.hpp"
#include "common/block/zeros.hpp"
#include "common/error.hpp"
#include "common/invariant.hpp"
#include "common/utc_text.hpp"
#include "filters/md5/md5_layer.hpp"
#include "filters/md5/parallel_md5.hpp"

namespace nbdstack {
namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(20);
constexpr Duration kPause_max = std::chrono::seconds(2);

std::int64_t in_ms(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

std::string written_at(const Md5FileRecord& record) {
  if (record.written_at_s == 0) return "";
  return ", written " + utc_text(record.written_at_s);
}

}  // namespace

void Md5Layer::pread(std::span<std::byte> buffer, std::uint64_t offset) {
  const Range asked{offset, buffer.size()};
  expect_on_disk(asked, geometry_.size_bytes());
  if (!trusts_digests()) {
    read_below(buffer, offset);
    return;
  }
  const Digests::Watch watch = shared_->digests.watch(asked, geometry_);
  Range wide = asked;
  if (!watch.blocks.empty()) {
    // Only the ends of a request can be parts of blocks.
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

// Sends one request, unless widening has made it longer than the layer below accepts.
void Md5Layer::read_below(std::span<std::byte> buffer, std::uint64_t offset) {
  expect_on_disk({offset, buffer.size()}, geometry_.size_bytes());
  const std::size_t longest = traits_.maximum_block_size;
  for (std::size_t done = 0; done < buffer.size(); done += longest) {
    const auto part = buffer.subspan(done, std::min(longest, buffer.size() - done));
    below().pread(part, offset + done);
  }
}

void Md5Layer::read_and_verify(std::span<std::byte> buffer, std::uint64_t offset,
                               const Digests::Watch& watch) {
  read_below(buffer, offset);
  std::vector<std::span<std::byte>> blocks;
  for (const auto& [block, expectation] : watch.blocks) {
    const Range range = geometry_.range_of(block);
    blocks.push_back(buffer.subspan(range.offset - offset, range.length));
  }
  const std::vector<Md5Digest> found = md5_of_each(blocks, shared_->hashing);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto& [block, expectation] = watch.blocks[i];
    if (!expectation.accepts(found[i])) {
      read_until_right(block, blocks[i], Owner::nobody);
      continue;
    }
    shared_->options.counters.verified_bytes.add(blocks[i].size());
    explain("md5: read of block {}: verified", block.value);
    if (expectation.doubtful) confirm(block, found[i]);
  }
}

// Reads a block that did not match, or was not read yet. Earlier results do not count: a write may
// have been in flight then.
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
      shared_->options.counters.mismatches.add();
      log::debug(
          "md5: block {} is not what was last written (expected MD5 {}, found {}): reading "
          "again for up to {} ms",
          block.value, to_hex(wrong->expected.content.digest), to_hex(wrong->found),
          in_ms(retry_time));
    }
    // A caller that has not read the block before reads it at least twice.
    if (now >= deadline && (reads > 1 || owner == Owner::nobody)) {
      give_up(block, *wrong, reads, now - deadline + retry_time);
    }
    clock.sleep_for(std::min(pause, deadline - now));
    pause = std::min(pause * 2, kPause_max);
  }
}

void Md5Layer::give_up(BlockNumber block, const Mismatch& wrong, unsigned reads,
                       Duration spent) const {
  const auto& [expected, found, all_zeros] = wrong;
  shared_->options.counters.failures.add();
  const bool is_previous = expected.previous && expected.previous->digest == found;
  const char* diagnosis = "the layer below returns old or damaged data";
  if (all_zeros) {
    diagnosis = "it reads as zeros: the layer below has lost it";
  } else if (is_previous) {
    diagnosis = "the layer below returns an old copy, what was there before";
  } else if (shared_->digests.file() != nullptr) {
    diagnosis = "the layer below returns damaged data, another block's, or a much older copy";
  }
  const Error damage(
      EIO, fmt::format("md5: block {} (offset {}, {} bytes{}): expected MD5 {}, found {} "
                       "after {} reads in {} ms: {}",
                       block.value, geometry_.offset_of(block), expected.content.length,
                       written_at(expected), to_hex(expected.content.digest), to_hex(found), reads,
                       in_ms(spent), diagnosis));
  throw damage.about(block.value);
}

// One attempt, with no change of the block in flight. Returns nothing if the block is right, or
// became unknown meanwhile.
std::optional<Md5Layer::Mismatch> Md5Layer::read_again(BlockNumber block, std::span<std::byte> data,
                                                       Owner owner) {
  std::optional<RangeLock::Guard> owned;
  INVARIANT(data.size() == geometry_.length_of(block), block.value, data.size());
  if (owner == Owner::nobody) owned.emplace(shared_->changes, geometry_.range_of(block));
  read_below(data, geometry_.offset_of(block));
  if (!trusts_digests()) return std::nullopt;
  const auto expected = shared_->digests.known(block, static_cast<std::uint32_t>(data.size()));
  if (!expected) {
    explain("md5: read of block {}: unknown by now, passed", block.value);
    return std::nullopt;
  }
  const Md5Digest found = md5(data);
  const bool right = found == expected->content.digest;
  if (expected->doubtful) {
    resolve(block, right);
    return std::nullopt;
  }
  if (right) return std::nullopt;
  return Mismatch{*expected, found, is_zero(data)};
}

// --- Doubtful blocks ---

void Md5Layer::confirm(BlockNumber block, const Md5Digest& found) {
  const auto owned = shared_->changes.try_acquire(geometry_.range_of(block));
  if (!owned) return;  // a change in flight ends the doubt
  const auto record = shared_->digests.known(block, geometry_.length_of(block));
  if (record && record->doubtful && record->content.digest == found) {
    resolve(block, true);
  }
}

// Called with the range owned. A read does not fail because its outcome cannot be recorded.
void Md5Layer::resolve(BlockNumber block, bool right) {
  try {
    shared_->digests.resolve(below(), block, right);
  } catch (const Error& error) {
    log::debug("md5: block {} stays doubtful: {}", block.value, error.what());
    return;
  }
  log::debug("md5: block {} was doubtful: {}", block.value,
             right ? "it is what was recorded" : "it is something else, and unknown from now on");
}

}  // namespace nbdstack
