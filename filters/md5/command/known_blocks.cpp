#include "filters/md5/command/known_blocks.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/error.hpp"
#include "filters/md5/file_binding.hpp"
#include "filters/md5/md5_file_layout.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kStep_blocks = 4096;
constexpr std::uint64_t kLongStep_blocks =
    65536;  // where nothing is wanted but whether one is known
constexpr std::chrono::seconds kListIsFresh{1};
constexpr unsigned kReadsOfList = 10;

Md5File::Identity identity_in(const StorageFile& file) {
  auto identity = Md5File::identity_of(file);
  if (identity) return *identity;
  throw Error(EINVAL, fmt::format("{} is no md5-file yet: no server has written to its disk with "
                                  "md5-file= naming it",
                                  file.path()));
}

// Returns the first block from `first` on whose record is not in a hole.
std::uint64_t skip_hole(const KnownBlocks::NextData& next_data, std::uint64_t first) {
  const std::uint64_t data = next_data(offset_of_record({first}));
  return std::max(first, (data - kRecords_offset) / kRecord_bytes);
}

}  // namespace

KnownBlocks::KnownBlocks(StorageFile& file, std::uint64_t size_bytes, Clock& clock,
                         NextData next_data)
    : file_(file),
      identity_(identity_in(file)),
      geometry_(size_bytes, identity_.block_size),
      clock_(clock),
      next_data_(std::move(next_data)) {
  expect_nothing_behind_end();
}

std::string KnownBlocks::compare_disk(const std::shared_ptr<const DiskIdentity>& told) {
  if (told == nullptr || identity_.disk_id.empty()) return {};
  const FileBinding binding = bind_file(identity_, file_.path(), identity_.export_name,
                                        {geometry_.size_bytes(), told}, identity_.block_size);
  doubts_all_ = binding.worth == FileBinding::Worth::doubtful;
  return binding.reason;
}

// Returns the block behind the last one that has a place in the file.
std::uint64_t KnownBlocks::end_of_records() const {
  const std::uint64_t size = file_.size_bytes();
  return size <= kRecords_offset ? 0 : (size - kRecords_offset + kRecord_bytes - 1) / kRecord_bytes;
}

void KnownBlocks::expect_nothing_behind_end() const {
  const std::uint64_t end = end_of_records();
  for (std::uint64_t at = geometry_.block_count(); at < end;) {
    at = skip_hole(next_data_, at);
    if (at >= end) return;
    const std::uint64_t count = std::min(kLongStep_blocks, end - at);
    const auto records = Md5File::read_records(file_, identity_, {at}, count);
    const auto known = std::find_if(records.begin(), records.end(),
                                    [](const auto& record) { return record.has_value(); });
    if (known != records.end()) {
      throw Error(
          EINVAL,
          fmt::format("{} knows block {} of {} bytes, but the export has {} bytes and ends before: "
                      "it was cut short, or is another disk. If the disk was made smaller on "
                      "purpose, stop its server and forget those blocks: truncate --size={} {}",
                      file_.path(), at + static_cast<std::uint64_t>(known - records.begin()),
                      identity_.block_size, geometry_.size_bytes(),
                      offset_of_record({geometry_.block_count()}), file_.path()));
    }
    at += count;
  }
}

std::vector<KnownBlock> KnownBlocks::next() {
  for (;;) {
    const std::uint64_t end = std::min(geometry_.block_count(), end_of_records());
    if (position_ < end) position_ = skip_hole(next_data_, position_);
    if (position_ >= end) {
      position_ = std::max(position_, end);
      return {};
    }
    const std::uint64_t count = std::min(kStep_blocks, end - position_);
    const auto records = Md5File::read_records(file_, identity_, {position_}, count);
    refresh_list();
    auto known = known_among({position_}, records);
    position_ += count;
    if (!known.empty()) return known;
  }
}

double KnownBlocks::percent_done() const {
  const std::uint64_t end = std::min(geometry_.block_count(), end_of_records());
  if (position_ >= end) return 100;
  return 100 * static_cast<double>(position_) / static_cast<double>(end);
}

std::vector<KnownBlock> KnownBlocks::known_among(BlockNumber first,
                                                 const Md5File::Records& records) const {
  std::vector<KnownBlock> known;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const BlockNumber block{first.value + i};
    if (!records[i] || records[i]->content.length != geometry_.length_of(block)) continue;
    known.push_back({block, *records[i]});
    if (doubts_all_ || on_list_.contains(block.value / kBlocksPerRegion)) {
      known.back().record.doubtful = true;
    }
  }
  return known;
}

void KnownBlocks::refresh_list() {
  const TimePoint now = clock_.now();
  if (list_seen_at_ && now - *list_seen_at_ < kListIsFresh) return;
  refresh_identity();
  const auto regions = doubted(std::nullopt);
  on_list_ = {regions.begin(), regions.end()};
  list_seen_at_ = now;
}

// A server may have begun a new generation of records, in the same file.
void KnownBlocks::refresh_identity() {
  const auto now = Md5File::identity_of(file_);
  if (now && now->uuid == identity_.uuid) identity_ = *now;
}

std::optional<Md5FileRecord> KnownBlocks::look(BlockNumber block) {
  refresh_identity();
  auto record = Md5File::read_records(file_, identity_, block, 1).front();
  if (record && doubts_all_) record->doubtful = true;
  return record && record->content.length == geometry_.length_of(block) ? record : std::nullopt;
}

bool KnownBlocks::is_on_list(BlockNumber block) const {
  return !doubted(block.value / kBlocksPerRegion).empty();
}

// An entry that is being written looks like a damaged one, for a moment.
std::vector<std::uint64_t> KnownBlocks::doubted(std::optional<std::uint64_t> only) const {
  for (unsigned reads = 1;; ++reads) {
    try {
      return Md5File::doubted_regions(file_, identity_, only);
    } catch (const Error& error) {
      if (error.code() != EINVAL || reads == kReadsOfList) throw;
    }
  }
}

}  // namespace nbdstack
