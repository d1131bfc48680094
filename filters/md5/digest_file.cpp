#include "filters/md5/digest_file.hpp"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "common/hash/xxh3.hpp"
#include "common/io/key_value_text.hpp"
#include "common/log.hpp"
#include "filters/md5/md5_file_layout.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kFirstKey = "md5-file=";
constexpr const char* kVersion = "1";
constexpr unsigned kReadsOfDamaged = 10;

std::string checksum_text(std::string_view text) {
  return fmt::format("{:016x}", xxh3_64(std::as_bytes(std::span(text)), 0));
}

std::uint64_t seed_of(const std::string& uuid) {
  return xxh3_64(std::as_bytes(std::span(uuid)), 0);
}

std::optional<DigestFile::Identity> parse_identity(std::string_view text) {
  const std::size_t check = text.rfind("check=");
  if (check == std::string_view::npos) return std::nullopt;
  auto values = parse_key_value_text(text);
  if (!values || (*values)["check"] != checksum_text(text.substr(0, check))) return std::nullopt;
  DigestFile::Identity identity{
      .export_name = (*values)["export"], .block_size = 0, .uuid = (*values)["uuid"]};
  if (!parse_number((*values)["block_size"], identity.block_size)) return std::nullopt;
  return (*values)["md5-file"] == kVersion ? std::optional(identity) : std::nullopt;
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
                                        BlockNumber first, std::uint64_t count) {
  std::vector<std::byte> bytes(count * kRecord_bytes);
  read_padded(file, bytes, offset_of_record(first));
  std::vector<DecodedRecord> decoded(count);
  for (std::size_t i = 0; i < count; ++i) {
    decoded[i] = decode_record(record_at(bytes, i), {first.value + i}, seed);
  }
  return decoded;
}

// From the first to behind the last that is known. The others are so in the file already, perhaps
// because there is a hole, which must not be filled: the disk may be full.
template <typename Optionals>
std::pair<std::size_t, std::size_t> known_part(const Optionals& each) {
  const auto is_known = [](const auto& one) { return one.has_value(); };
  const auto begin = std::find_if(each.begin(), each.end(), is_known);
  if (begin == each.end()) return {0, 0};
  const auto end = std::find_if(each.rbegin(), each.rend(), is_known).base();
  return {static_cast<std::size_t>(begin - each.begin()),
          static_cast<std::size_t>(end - each.begin())};
}

// A change that the file cannot be told of is not made.
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

std::optional<DigestFile::Identity> DigestFile::identity_of(const StorageFile& file) {
  std::string text(kRecords_offset, '\0');
  read_padded(file, std::as_writable_bytes(std::span(text)), 0);
  const bool empty = text.find_first_not_of('\0') == std::string::npos;
  text.resize(kIdentity_bytes);
  text.resize(text.find_last_not_of('\0') + 1);
  const bool ours = text.starts_with(kFirstKey);
  if (!ours && !(empty && file.size_bytes() <= kRecords_offset)) {
    throw Error(EINVAL, fmt::format("{} is not an md5-file: a server makes one where there is no "
                                    "file yet",
                                    file.path()));
  }
  auto identity = parse_identity(text);
  if (identity) return identity;
  // Nothing is behind the list before the identity is durable.
  if (file.size_bytes() <= kRecords_offset) return std::nullopt;
  throw Error(EINVAL, fmt::format("md5-file {} is damaged or of another version. To begin anew, "
                                  "remove it: all digests in it are forgotten",
                                  file.path()));
}

DigestFile::Identity DigestFile::create(StorageFile& file, const std::string& export_name,
                                        std::uint32_t block_size) {
  Identity identity{export_name, block_size, random_uuid()};
  std::string text = to_key_value_text({{"md5-file", kVersion},
                                        {"export", export_name},
                                        {"block_size", std::to_string(block_size)},
                                        {"uuid", identity.uuid}});
  text += fmt::format("check={}\n", checksum_text(text));
  if (text.size() > kIdentity_bytes) {
    throw Error(EINVAL, fmt::format("md5-file {}: the export's name is too long", file.path()));
  }
  // Written and not left as a hole: a full disk must not be found out when a region is opened.
  std::vector<std::byte> bytes(kRecords_offset);
  std::copy_n(std::as_bytes(std::span(text)).begin(), text.size(), bytes.begin());
  file.write_at(bytes, 0);
  file.sync_data();
  return identity;
}

DigestFile::DigestFile(std::shared_ptr<StorageFile> file, const Identity& identity)
    : file_(std::move(file)),
      identity_(identity),
      seed_(seed_of(identity.uuid)),
      regions_(*file_, seed_) {
  recover();
}

// --- Recovery ---

// Nothing goes from the list before what was doubted is durable, and what was not, too: a server
// may have been killed between writing an entry and syncing it.
void DigestFile::recover() {
  const std::vector<std::uint64_t> doubted = regions_.doubted();
  for (const std::uint64_t region : doubted) doubt(region);
  if (!doubted.empty()) {
    log::debug("md5: {} was not closed: up to {} blocks are doubtful until they are read", path(),
               doubted.size() * kBlocksPerRegion);
  }
  file_->sync_data();
  regions_.clear();
}

void DigestFile::doubt(std::uint64_t region) {
  const BlockNumber first{region * kBlocksPerRegion};
  Records records = load(first, kBlocksPerRegion);
  for (auto& record : records) {
    if (record) record->doubtful = true;
  }
  if (std::any_of(records.begin(), records.end(), [](const auto& record) { return !!record; })) {
    store(first, records);
  }
}

// --- Records ---

DigestFile::Records DigestFile::read_records(const StorageFile& file, const Identity& identity,
                                             BlockNumber first, std::uint64_t count) {
  Records records;
  records.reserve(count);
  for (const auto& decoded : read_decoded(file, seed_of(identity.uuid), first, count)) {
    records.push_back(decoded.record);
  }
  return records;
}

std::vector<std::uint64_t> DigestFile::doubted_regions(StorageFile& file, const Identity& identity,
                                                       std::optional<std::uint64_t> only) {
  return OpenRegions(file, seed_of(identity.uuid)).doubted(only);
}

DigestFile::Records DigestFile::load(BlockNumber first, std::uint64_t count) const {
  std::vector<DecodedRecord> all = read_decoded(*file_, seed_, first, count);
  Records records(count);
  for (std::size_t i = 0; i < count; ++i) {
    const BlockNumber block{first.value + i};
    DecodedRecord& decoded = all[i];
    // Who owns no range may meet a record that is just being written.
    for (unsigned tries = 0; decoded.damaged && tries < kReadsOfDamaged; ++tries) {
      decoded = read_decoded(*file_, seed_, block, 1).front();
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

void DigestFile::store(BlockNumber first, const Records& records) {
  std::vector<std::byte> bytes(records.size() * kRecord_bytes);
  for (std::size_t i = 0; i < records.size(); ++i) {
    encode_record(records[i], {first.value + i}, seed_, record_at(bytes, i));
  }
  file_->write_at(bytes, offset_of_record(first));
}

// --- Changes ---

std::optional<DigestFile::Change> DigestFile::begin(BlockNumber first, const Records& before) {
  return or_refuse([&]() -> std::optional<Change> {
    auto hold = regions_.open(regions_of(first, before.size()));
    if (!hold) return std::nullopt;
    make_unknown(first, before);
    return Change(*this, first, before, std::move(*hold));
  });
}

void DigestFile::make_unknown(BlockNumber first, const Records& before) {
  const auto [begin, end] = known_part(before);
  if (begin == end) return;
  store({first.value + begin}, Records(end - begin));
}

void DigestFile::Change::record(std::span<const std::optional<Content>> contents) {
  const auto [begin, end] = known_part(contents);
  if (begin == end) return;
  Records records(end - begin);
  const std::int64_t now_s = seconds_since_1970();
  for (std::size_t i = begin; i < end; ++i) {
    if (!contents[i]) continue;
    DigestRecord& record = records[i - begin].emplace();
    record = {.content = *contents[i], .previous = std::nullopt, .written_at_s = now_s};
    const auto& before = before_[i];
    if (!before) continue;
    // Written again with what it held, it is older than that.
    record.previous = before->content == *contents[i] ? before->previous : before->content;
  }
  file_->store_or_say({first_.value + begin}, records);
}

void DigestFile::Change::undo() {
  const auto [begin, end] = known_part(before_);
  if (begin == end) return;
  file_->store_or_say({first_.value + begin},
                      Records(before_.begin() + static_cast<std::ptrdiff_t>(begin),
                              before_.begin() + static_cast<std::ptrdiff_t>(end)));
}

void DigestFile::store_or_say(BlockNumber first, const Records& records) {
  try {
    store(first, records);
    fails_ = false;
  } catch (const Error& error) {
    if (fails_.exchange(true)) return;
    log::error("md5: {}: blocks that are written are not remembered until this is mended",
               error.what());
  }
}

bool DigestFile::resolve(BlockNumber block, bool right) {
  const auto hold = regions_.open(regions_of(block, 1));
  if (!hold) return false;
  Records records = load(block, 1);
  if (!records[0]) return true;
  records[0]->doubtful = false;
  if (!right) records[0].reset();
  store(block, records);
  return true;
}

bool DigestFile::forget(BlockNumber first, std::uint64_t count) {
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

void DigestFile::punch(BlockNumber first, std::uint64_t count) {
  const std::uint64_t begin = offset_of_record(first);
  const std::uint64_t end = std::min(begin + count * kRecord_bytes, file_->size_bytes());
  if (begin < end) file_->punch_hole(end - begin, begin);
}

}  // namespace nbdstack
