#include "tests/crash/md5_file_workload.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "common/error.hpp"
#include "filters/md5/md5_file_layout.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kSmallDisk_blocks = 2 * kBlocksPerRegion + 20;
constexpr std::uint64_t kLargeDisk_blocks = Md5File::kChange_blocks_max + 3 * kBlocksPerRegion;
constexpr std::uint64_t kShortLast_bytes = 40;
constexpr std::uint64_t kStepsPerFailure = 60;

}  // namespace

Md5FileWorkload::Md5FileWorkload(const Options& options)
    : options_(options),
      random_(options.seed),
      geometry_((options.disk_is_large ? kLargeDisk_blocks : kSmallDisk_blocks) * kBlock_bytes +
                    kShortLast_bytes,
                kBlock_bytes),
      below_(CrashingContent(geometry_.size_bytes()), options.below_is_volatile),
      promises_(geometry_.block_count()) {
  // Both sides of the bounds of regions, and the ends of the disk.
  const std::uint64_t last = geometry_.block_count() - 1;
  blocks_ = {0, 1, 2, 254, 255, 256, 257, 258, 510, 511, 512, 513, last - 1, last};
  server_ = server_on(disk_, below_);
  below_.on_step([this] { on_step(); });
  disk_.set_hook([this](const SimulatedDisk::Operation&) { on_step(); });
}

Md5FileWorkload::~Md5FileWorkload() {
  disk_.set_hook({});
}

void Md5FileWorkload::run(std::size_t crash_points) {
  const std::size_t enough = crash_points_ + crash_points;
  while (crash_points_ < enough && fault_.empty()) step();
}

Range Md5FileWorkload::pick_whole_blocks() {
  const std::uint64_t first = pick_block();
  const std::uint64_t last = std::min(first + pick(4), geometry_.block_count() - 1);
  return {range_of(first).offset, range_of(last).end() - range_of(first).offset};
}

// From anywhere in one block to anywhere in one that follows: of all those used, now and then.
Range Md5FileWorkload::pick_range() {
  const bool is_long = pick(6) == 0;
  const std::uint64_t first = pick_block();
  const std::uint64_t last =
      is_long ? std::max(first, pick_block()) : std::min(first + pick(3), blocks_.back());
  const std::uint64_t begin = range_of(first).offset + pick(range_of(first).length);
  const std::uint64_t end = range_of(last).offset + 1 + pick(range_of(last).length);
  return {begin, end > begin ? end - begin : 1};
}

void Md5FileWorkload::step() {
  const std::uint64_t choice = pick(100);
  if (choice < 30) return write(pick_whole_blocks());
  if (choice < 45) return write(pick_range());
  if (choice < 55) return zero(pick(2) == 0 ? pick_whole_blocks() : pick_range());
  if (choice < 62) return trim(pick(2) == 0 ? pick_whole_blocks() : pick_range());
  if (choice < 78) return flush();
  if (choice < 88) return read(pick_range());
  if (choice < 92) return restart();
  if (choice < 94) return kill();
  if (choice < 98) return crash_and_restart();
  for (const std::uint64_t block : blocks_) read(range_of(block));
}

// --- What a client does ---

void Md5FileWorkload::write(const Range& range) {
  std::vector<std::byte> data(range.length);
  for (std::byte& each : data) each = static_cast<std::byte>(random_());
  const auto durability = pick(4) == 0 ? Durability::fua : Durability::on_flush;
  change(range, true, [&] { server_.layer->pwrite(data, range.offset, durability); });
}

void Md5FileWorkload::zero(const Range& range) {
  const bool is_recorded = range.length / kBlock_bytes + 2 <= Md5File::kChange_blocks_max;
  change(range, is_recorded, [&] { server_.layer->zero(range.length, range.offset, {}); });
}

void Md5FileWorkload::trim(const Range& range) {
  change(range, false,
         [&] { server_.layer->trim(range.length, range.offset, Durability::on_flush); });
}

// What is promised ends before the change begins, and begins after it has ended.
void Md5FileWorkload::change(const Range& range, bool says_content,
                             const std::function<void()>& call) {
  const std::uint64_t first = geometry_.block_at(range.offset).value;
  const std::uint64_t last = geometry_.block_at(range.end() - 1).value;
  regions_change(first, last);
  std::vector<Promise> after;
  for (std::uint64_t block = first; block <= last; ++block) {
    const bool is_whole = range.contains(range_of(block));
    const bool stays_known = is_whole || promises_[block] == Promise::known;
    after.push_back(says_content && stays_known ? Promise::known : Promise::none);
    promises_[block] = Promise::none;
  }
  if (!succeeds(call)) return;
  std::copy(after.begin(), after.end(), promises_.begin() + static_cast<std::ptrdiff_t>(first));
}

void Md5FileWorkload::regions_change(std::uint64_t first, std::uint64_t last) {
  const auto begin = first / kBlocksPerRegion * kBlocksPerRegion;
  const auto end =
      std::min((last / kBlocksPerRegion + 1) * kBlocksPerRegion, geometry_.block_count());
  for (std::uint64_t block = begin; block < end; ++block) {
    if (promises_[block] == Promise::safe) promises_[block] = Promise::known;
  }
}

// A failure that was made here may be passed on, or only logged.
bool Md5FileWorkload::succeeds(const std::function<void()>& call) {
  has_failed_ = false;
  may_fail_ = true;
  try {
    call();
  } catch (const Error& error) {
    if (!has_failed_) fail(fmt::format("an operation failed: {}", error.what()));
  }
  may_fail_ = false;
  return !has_failed_;
}

void Md5FileWorkload::flush() {
  if (!succeeds([this] { server_.layer->flush(); })) return;
  std::replace(promises_.begin(), promises_.end(), Promise::known, Promise::safe);
}

// A read that ends a doubt changes a record.
void Md5FileWorkload::read(const Range& range) {
  const BlockNumber first = geometry_.block_at(range.offset);
  const std::uint64_t count = geometry_.block_at(range.end() - 1).value - first.value + 1;
  const auto records = server_.shared->digests.file()->load(first, count);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (records[i] && records[i]->doubtful) regions_change(first.value + i, first.value + i);
  }
  std::vector<std::byte> data(range.length);
  if (!succeeds([&] { server_.layer->pread(data, range.offset); })) return;
  const auto there = below_.content().bytes().subspan(range.offset, range.length);
  if (!std::equal(data.begin(), data.end(), there.begin())) fail("a read returns something else");
}

// --- What becomes of its server ---

void Md5FileWorkload::restart() {
  if (!succeeds([this] { server_.layer->finalize(); })) return kill();
  std::replace(promises_.begin(), promises_.end(), Promise::known, Promise::safe);
  server_ = {};
  server_ = server_on(disk_, below_);
}

// The machine goes on.
void Md5FileWorkload::kill() {
  server_ = {};
  server_ = server_on(disk_, below_);
  forget_what_is_not_safe();
}

void Md5FileWorkload::crash_and_restart() {
  server_ = {};
  disk_.set_hook({});
  SimulatedDisk crashed = disk_.copy();
  crash(crashed, below_.content());
  disk_ = std::move(crashed);
  disk_.set_hook([this](const SimulatedDisk::Operation&) { on_step(); });
  kill();
}

void Md5FileWorkload::forget_what_is_not_safe() {
  std::replace(promises_.begin(), promises_.end(), Promise::known, Promise::none);
}

void Md5FileWorkload::on_step() {
  if (judging_ || !fault_.empty()) return;
  judge_crash();
  if (!may_fail_ || pick(kStepsPerFailure) != 0) return;
  has_failed_ = true;
  throw Error(EIO, "told to fail");
}

}  // namespace nbdstack::testing
