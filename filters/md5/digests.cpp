#include "filters/md5/digests.hpp"

#include <limits>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

constexpr unsigned kLooks_max = 100;

void flush_if_it_can(Layer& below) {
  if (below.traits().can_flush) below.flush();
}

DigestTable::Options for_what_is_under_way(DigestTable::Options options) {
  options.cache_time = options.min_write_delay;
  options.keeps_written = false;
  return options;
}

}  // namespace

Digests::Digests(const DigestTable::Options& options, Clock& clock, std::unique_ptr<Md5File> file)
    : file_(std::move(file)),
      table_(file_ == nullptr ? options : for_what_is_under_way(options), clock) {}

std::uint64_t Digests::most_in_a_change() const {
  return file_ == nullptr ? std::numeric_limits<std::uint64_t>::max() : Md5File::kChange_blocks_max;
}

// A change that ends between the look at the file and that at the table is in neither: then both
// are repeated. Repetitions are few: each means that a change has progressed.
Digests::Watch Digests::watch(const Range& range, const BlockGeometry& geometry) {
  const std::uint64_t count =
      geometry.block_at(range.end() - 1).value - geometry.block_at(range.offset).value + 1;
  for (unsigned looks = 1;; ++looks) {
    const std::uint64_t ended_before = changes_ended_;
    Watch watch = look(range, geometry);
    const bool all_known = watch.blocks.size() == count;
    if (file_ == nullptr || all_known || changes_ended_ == ended_before || looks == kLooks_max) {
      return watch;
    }
  }
}

Digests::Watch Digests::look(const Range& range, const BlockGeometry& geometry) {
  const BlockNumber first = geometry.block_at(range.offset);
  const BlockNumber last = geometry.block_at(range.end() - 1);
  Md5File::Records records;
  if (file_ != nullptr) records = file_->load(first, last.value - first.value + 1);
  auto under_way = table_.watch(range, geometry);
  Watch watch{std::move(under_way.pins), {}};
  auto next = under_way.blocks.begin();
  const auto take_until = [&](BlockNumber block) {
    for (; next != under_way.blocks.end() && next->first < block; ++next) {
      if (next->second) watch.blocks.emplace_back(next->first, *next->second);
    }
  };
  for (std::size_t i = 0; i < records.size(); ++i) {
    const BlockNumber block{first.value + i};
    take_until(block);
    const bool is_under_way = next != under_way.blocks.end() && next->first == block;
    if (is_under_way || !records[i] || records[i]->content.length != geometry.length_of(block)) {
      continue;
    }
    watch.blocks.emplace_back(block, Expectation{.settled = records[i]->content.digest,
                                                 .coming = std::nullopt,
                                                 .doubtful = records[i]->doubtful});
  }
  take_until(last.next());
  return watch;
}

std::optional<Md5FileRecord> Digests::known(BlockNumber block, std::uint32_t length) {
  if (file_ != nullptr) {
    auto record = file_->load(block, 1).front();
    return record && record->content.length == length ? record : std::nullopt;
  }
  const auto digest = table_.remembered(block, length);
  if (!digest) return std::nullopt;
  return Md5FileRecord{.content = {*digest, length}, .previous = std::nullopt};
}

// --- Changes ---

Digests::Change::Change(Digests& digests, Layer& below, const BlockGeometry& geometry,
                        const Range& run, Outcome outcome)
    : digests_(digests), first_(geometry.block_at(run.offset)) {
  const BlockNumber last = geometry.block_at(run.end() - 1);
  count_ = last.value - first_.value + 1;
  Md5File* const file = digests_.file_.get();
  const bool recorded = file != nullptr && count_ <= Md5File::kChange_blocks_max;
  const auto before = recorded ? file->load(first_, count_) : Md5File::Records();
  std::vector<PlannedBlock> plan;
  for (const BlockNumber block : digests_.table_.entries_in(first_, count_)) {
    PlannedBlock planned{.block = block, .length = 0, .before = std::nullopt};
    if (outcome == Outcome::contents && run.contains(geometry.range_of(block))) {
      planned.length = geometry.length_of(block);
    }
    if (recorded) {
      const auto& record = before[block.value - first_.value];
      if (record && !record->doubtful) planned.before = record->content;
    }
    plan.push_back(planned);
  }
  table_change_.emplace(digests_.table_, plan);
  if (file != nullptr) begin_in_file(*file, below, before);
}

void Digests::Change::begin_in_file(Md5File& file, Layer& below, const Md5File::Records& before) {
  if (count_ > Md5File::kChange_blocks_max) {
    while (!file.forget(first_, count_)) digests_.make_room(file, below);
    return;
  }
  for (;;) {
    auto change = file.begin(first_, before);
    if (change) {
      file_change_.emplace(std::move(*change));
      return;
    }
    digests_.make_room(file, below);
  }
}

void Digests::Change::announce(BlockNumber block, const Content& content) {
  table_change_->announce(block, content);
}

void Digests::Change::commit(const std::function<std::optional<Content>(BlockNumber)>& content_of) {
  if (file_change_) {
    std::vector<std::optional<Content>> contents(count_);
    for (std::uint64_t i = 0; i < count_; ++i) contents[i] = content_of({first_.value + i});
    file_change_->record(contents);
    file_change_.reset();
  }
  table_change_->commit();
}

void Digests::Change::undo() {
  if (file_change_) file_change_->undo();
  table_change_->undo();
}

// In this order, so that a read that finds neither record nor entry sees that a change has ended.
Digests::Change::~Change() {
  file_change_.reset();
  ++digests_.changes_ended_;
}

// If the file does not name the disk, or term, of its records yet, reading does not change it.
void Digests::resolve(Layer& below, BlockNumber block, bool right) {
  if (!file_->is_stored()) return;
  while (!file_->resolve(block, right)) make_room(*file_, below);
}

void Digests::doubt_all(const DiskIdentity* now) {
  table_.forget_all();
  if (file_ == nullptr) return;
  std::optional<std::uint64_t> term;
  if (now != nullptr && now->term) term = now->term->term;
  file_->doubt_all(term);
}

// --- Flushing ---

void Digests::flush(Layer& below) {
  if (file_ == nullptr) {
    flush_if_it_can(below);
    return;
  }
  const auto quiet = file_->quiet();
  flush_if_it_can(below);
  try {
    file_->settle(quiet);
  } catch (const Error& error) {
    // The data is safe. Regions that cannot be settled are doubtful after a crash, and tried again.
    log::error(
        "md5: {}: should the server be killed now, blocks that were written lately will be "
        "doubtful",
        error.what());
  }
}

void Digests::make_room(Md5File& file, Layer& below) {
  const auto quiet = file.quiet();
  if (quiet.empty()) {
    file.wait_for_a_change_to_end();
    return;
  }
  flush_if_it_can(below);
  file.settle(quiet);
}

}  // namespace nbdstack
