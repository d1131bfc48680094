#include "filters/md5/md5_file.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/error.hpp"
#include "common/hash/xxh3.hpp"
#include "common/io/key_value_text.hpp"
#include "common/log.hpp"
#include "filters/md5/md5_file_layout.hpp"

namespace nbdstack {
namespace {

constexpr unsigned kReadsOfDamaged = 10;

std::uint64_t seed_of(const std::string& uuid) {
  return xxh3_64(std::as_bytes(std::span(uuid)), 0);
}

OpenRegions::Regions regions_of(BlockNumber first, std::uint64_t count) {
  const std::uint64_t first_region = first.value / kBlocksPerRegion;
  const std::uint64_t last_region = (first.value + count - 1) / kBlocksPerRegion;
  return {first_region, last_region - first_region + 1};
}

RecordBytes record_at(std::span<std::byte> bytes, std::size_t index) {
  return bytes.subspan(index * kRecord_bytes).first<kRecord_bytes>();
}

std::vector<DecodedRecord> read_decoded(const StorageFile& file, std::uint64_t seed,
                                        BlockNumber first, std::uint64_t count,
                                        std::uint32_t generation) {
  std::vector<std::byte> bytes(count * kRecord_bytes);
  read_padded(file, bytes, offset_of_record(first));
  std::vector<DecodedRecord> decoded(count);
  for (std::size_t i = 0; i < count; ++i) {
    decoded[i] = decode_record(record_at(bytes, i), {first.value + i}, seed, generation);
  }
  return decoded;
}

// Returns the part from the first known one to the last. The others are unknown in the file
// already, perhaps as a hole, which must not be filled: the disk may be full.
template <typename Optionals>
std::pair<std::size_t, std::size_t> known_part(const Optionals& each) {
  const auto is_known = [](const auto& one) { return one.has_value(); };
  const auto begin = std::find_if(each.begin(), each.end(), is_known);
  if (begin == each.end()) return {0, 0};
  const auto end = std::find_if(each.rbegin(), each.rend(), is_known).base();
  return {static_cast<std::size_t>(begin - each.begin()),
          static_cast<std::size_t>(end - each.begin())};
}

// A change is refused if the file cannot record it.
template <typename Action>
auto or_refuse(Action&& action) {
  try {
    return action();
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("md5: {}: an old digest must not stay in the md5-file. "
                                          "Mend its disk, or stop the server and remove the file",
                                          error.what()));
  }
}

std::int64_t seconds_since_1970() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

}  // namespace

// --- Identity ---

Md5File::Identity Md5File::create(StorageFile& file, const std::string& export_name,
                                  std::uint32_t block_size) {
  Identity identity;
  identity.export_name = export_name;
  identity.block_size = block_size;
  identity.uuid = random_uuid();
  write_new_identity(file, identity);
  return identity;
}

Md5File::Md5File(std::shared_ptr<StorageFile> file, const Identity& identity, Store store,
                 bool exists)
    : file_(std::move(file)),
      seed_(seed_of(identity.uuid)),
      store_(std::move(store)),
      generation_(identity.generation),
      exists_(exists),
      is_stored_(exists),
      identity_(identity),
      regions_(*file_, seed_) {}

Md5File::Md5File(std::shared_ptr<StorageFile> file, const Identity& identity, Store store)
    : Md5File(std::move(file), identity, std::move(store), true) {
  recover();
}

std::unique_ptr<Md5File> Md5File::make_new(std::shared_ptr<StorageFile> file,
                                           const Identity& identity, Store store) {
  return std::unique_ptr<Md5File>(new Md5File(std::move(file), identity, std::move(store), false));
}

Md5File::Identity Md5File::identity() const {
  const MutexLock lock(mutex_);
  return identity_;
}

void Md5File::change_identity(const Identity& identity) {
  const MutexLock lock(mutex_);
  if (identity_ == identity) return;
  identity_ = identity;
  generation_ = identity.generation;
  is_stored_ = false;
}

void Md5File::doubt_all(const std::optional<std::uint64_t>& term) {
  Identity identity = this->identity();
  ++identity.generation;
  identity.term = term;
  change_identity(identity);
}

void Md5File::store_identity() {
  if (is_stored_) return;
  const MutexLock one_at_a_time(storing_);
  while (!is_stored_) {
    const Identity wanted = identity();
    if (store_) {
      store_(wanted);
    } else {
      replace_identity(*file_, wanted);
    }
    exists_ = true;
    const MutexLock lock(mutex_);
    is_stored_ = identity_ == wanted;
  }
}

// --- Recovery ---

// Clears the list only when the doubtful records are durable, and all others: a server may have
// been killed between writing an entry and syncing it.
void Md5File::recover() {
  const std::vector<std::uint64_t> doubted = regions_.doubted();
  for (const std::uint64_t region : doubted) doubt(region);
  if (!doubted.empty()) {
    log::debug("md5: {} was not closed: up to {} blocks are doubtful until they are read", path(),
               doubted.size() * kBlocksPerRegion);
  }
  file_->sync_data();
  regions_.clear();
}

void Md5File::doubt(std::uint64_t region) {
  const BlockNumber first{region * kBlocksPerRegion};
  Records records = load(first, kBlocksPerRegion);
  for (auto& record : records) {
    if (record) record->doubtful = true;
  }
  if (std::any_of(records.begin(), records.end(), [](const auto& record) { return !!record; })) {
    store(first, records, generation_);
  }
}

// --- Records ---

Md5File::Records Md5File::read_records(const StorageFile& file, const Identity& identity,
                                       BlockNumber first, std::uint64_t count) {
  Records records;
  records.reserve(count);
  for (const auto& decoded :
       read_decoded(file, seed_of(identity.uuid), first, count, identity.generation)) {
    records.push_back(decoded.record);
  }
  return records;
}

std::vector<std::uint64_t> Md5File::doubted_regions(StorageFile& file, const Identity& identity,
                                                    std::optional<std::uint64_t> only) {
  return OpenRegions(file, seed_of(identity.uuid)).doubted(only);
}

Md5File::Records Md5File::load(BlockNumber first, std::uint64_t count) const {
  Records records(count);
  if (!exists_) return records;
  std::vector<DecodedRecord> all = read_decoded(*file_, seed_, first, count, generation_);
  for (std::size_t i = 0; i < count; ++i) {
    const BlockNumber block{first.value + i};
    DecodedRecord& decoded = all[i];
    // A caller that does not own the range may meet a record that is being written.
    for (unsigned tries = 0; decoded.damaged && tries < kReadsOfDamaged; ++tries) {
      decoded = read_decoded(*file_, seed_, block, 1, generation_).front();
    }
    records[i] = decoded.record;
    if (decoded.damaged && !damaged_.exchange(true)) {
      log::error(
          "md5: the record of block {} in {} is damaged, and perhaps others: nothing is known "
          "of such blocks until they are written again",
          block.value, path());
    }
  }
  return records;
}

void Md5File::store(BlockNumber first, const Records& records, std::uint32_t generation) {
  std::vector<std::byte> bytes(records.size() * kRecord_bytes);
  for (std::size_t i = 0; i < records.size(); ++i) {
    encode_record(records[i], {first.value + i}, seed_, record_at(bytes, i), generation);
  }
  file_->write_at(bytes, offset_of_record(first));
}

// --- Changes ---

std::optional<Md5File::Change> Md5File::begin(BlockNumber first, const Records& before) {
  store_identity();
  return or_refuse([&]() -> std::optional<Change> {
    auto hold = regions_.open(regions_of(first, before.size()));
    if (!hold) return std::nullopt;
    make_unknown(first, before);
    return Change(*this, first, before, std::move(*hold));
  });
}

void Md5File::make_unknown(BlockNumber first, const Records& before) {
  const auto [begin, end] = known_part(before);
  if (begin == end) return;
  store({first.value + begin}, Records(end - begin), generation_);
}

void Md5File::Change::record(std::span<const std::optional<Content>> contents) {
  const auto [begin, end] = known_part(contents);
  if (begin == end) return;
  Records records(end - begin);
  const std::int64_t now_s = seconds_since_1970();
  for (std::size_t i = begin; i < end; ++i) {
    if (!contents[i]) continue;
    Md5FileRecord& record = records[i - begin].emplace();
    record = {.content = *contents[i], .previous = std::nullopt, .written_at_s = now_s};
    const auto& before = before_[i];
    if (!before) continue;
    // A block that is written with its old content keeps its previous one.
    record.previous = before->content == *contents[i] ? before->previous : before->content;
  }
  file_->store_or_say({first_.value + begin}, records, generation_);
}

void Md5File::Change::undo() {
  const auto [begin, end] = known_part(before_);
  if (begin == end) return;
  file_->store_or_say({first_.value + begin},
                      Records(before_.begin() + static_cast<std::ptrdiff_t>(begin),
                              before_.begin() + static_cast<std::ptrdiff_t>(end)),
                      generation_);
}

// On a full disk some records can be written and others cannot: the fault ends when none has failed
// for a while.
void Md5File::store_or_say(BlockNumber first, const Records& records, std::uint32_t generation) {
  using std::chrono::steady_clock;
  constexpr std::chrono::seconds kQuiet{5};
  try {
    store(first, records, generation);
    if (!fails_ || steady_clock::now() - failed_at_.load() < kQuiet) return;
    if (fails_.exchange(false)) log::error("md5: {}: blocks are remembered again", path());
  } catch (const Error& error) {
    failed_at_ = steady_clock::now();
    if (fails_.exchange(true)) return;
    log::error("md5: {}: blocks that are written are not remembered until this is mended",
               error.what());
  }
}

bool Md5File::resolve(BlockNumber block, bool right) {
  store_identity();
  const auto hold = regions_.open(regions_of(block, 1));
  if (!hold) return false;
  const std::uint32_t generation = generation_;  // the generation of load()'s result
  Records records = load(block, 1);
  if (!records[0]) return true;
  records[0]->doubtful = false;
  if (!right) records[0].reset();
  store(block, records, generation);
  return true;
}

bool Md5File::forget(BlockNumber first, std::uint64_t count) {
  store_identity();
  return or_refuse([&] {
    // The regions at the ends have other blocks, too.
    const auto head = regions_.open(regions_of(first, 1));
    const auto tail = regions_.open(regions_of({first.value + count - 1}, 1));
    if (!head || !tail) return false;
    punch(first, count);
    regions_.sync();
    return true;
  });
}

void Md5File::punch(BlockNumber first, std::uint64_t count) {
  const std::uint64_t begin = offset_of_record(first);
  const std::uint64_t end = std::min(begin + count * kRecord_bytes, file_->size_bytes());
  if (begin < end) file_->punch_hole(end - begin, begin);
}

}  // namespace nbdstack
