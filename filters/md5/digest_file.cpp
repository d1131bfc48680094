#include "filters/md5/digest_file.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string_view>

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
  const std::string& size = (*values)["block_size"];
  const auto [end, failure] =
      std::from_chars(size.data(), size.data() + size.size(), identity.block_size);
  if (failure != std::errc() || end != size.data() + size.size()) return std::nullopt;
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

std::int64_t seconds_since_1970() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

}  // namespace

// --- Identity ---

std::optional<DigestFile::Identity> DigestFile::identity_of(const StorageFile& file) {
  std::string text(kIdentity_bytes, '\0');
  read_padded(file, std::as_writable_bytes(std::span(text)), 0);
  text.resize(text.find_last_not_of('\0') + 1);
  const std::string_view begin = std::string_view(text).substr(0, kFirstKey.size());
  const bool ours = begin == kFirstKey;
  const bool empty = begin.find_first_not_of('\0') == std::string_view::npos;
  if (!ours && !(empty && file.size_bytes() <= kRecords_offset)) {
    throw Error(EINVAL, fmt::format("{} is not an md5-file: name one, or a file that is not there "
                                    "yet",
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

DigestFile::Identity DigestFile::create(StorageFile& file, Directory& directory,
                                        const std::string& export_name, std::uint32_t block_size) {
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
  directory.sync();
  return identity;
}

DigestFile::DigestFile(std::unique_ptr<StorageFile> file, const Identity& identity)
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
  const std::uint64_t seed = seed_of(identity.uuid);
  std::vector<std::byte> bytes(count * kRecord_bytes);
  read_padded(file, bytes, offset_of_record(first));
  Records records(count);
  for (std::size_t i = 0; i < count; ++i) {
    records[i] = decode_record(record_at(bytes, i), {first.value + i}, seed).record;
  }
  return records;
}

DigestFile::Records DigestFile::load(BlockNumber first, std::uint64_t count) const {
  std::vector<std::byte> bytes(count * kRecord_bytes);
  read_padded(*file_, bytes, offset_of_record(first));
  Records records(count);
  for (std::size_t i = 0; i < count; ++i) {
    const BlockNumber block{first.value + i};
    DecodedRecord decoded = decode_record(record_at(bytes, i), block, seed_);
    // Who owns no range may meet a record that is just being written.
    for (unsigned tries = 0; decoded.damaged && tries < kReadsOfDamaged; ++tries) {
      read_padded(*file_, record_at(bytes, i), offset_of_record(block));
      decoded = decode_record(record_at(bytes, i), block, seed_);
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

std::optional<DigestFile::Change> DigestFile::begin(BlockNumber first, std::uint64_t count) {
  auto hold = regions_.open(regions_of(first, count));
  if (!hold) return std::nullopt;
  Records before = load(first, count);
  make_unknown(first, before);
  return Change(*this, first, std::move(before), std::move(*hold));
}

// What is unknown already is not written: its place in the file may be a hole, and the disk full.
void DigestFile::make_unknown(BlockNumber first, const Records& before) {
  const auto is_known = [](const auto& record) { return record.has_value(); };
  const auto begin = std::find_if(before.begin(), before.end(), is_known);
  if (begin == before.end()) return;
  const auto end = std::find_if(before.rbegin(), before.rend(), is_known).base();
  const auto skipped = static_cast<std::uint64_t>(begin - before.begin());
  try {
    store({first.value + skipped}, Records(static_cast<std::size_t>(end - begin)));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("md5: {}: an old digest must not stay in the md5-file. "
                                          "Mend its disk, or stop the server and remove the file",
                                          error.what()));
  }
}

void DigestFile::Change::record(std::span<const std::optional<Content>> contents) {
  Records records(contents.size());
  const std::int64_t now_s = seconds_since_1970();
  for (std::size_t i = 0; i < contents.size(); ++i) {
    if (!contents[i]) continue;
    const auto& before = before_[i];
    records[i] = DigestRecord{.content = *contents[i],
                              .previous = std::nullopt,
                              .written_at_s = now_s,
                              .doubtful = false};
    if (!before) continue;
    // Written again with what it held, it is older than that.
    records[i]->previous = before->content == *contents[i] ? before->previous : before->content;
  }
  try {
    file_->store(first_, records);
    file_->fails_ = false;
  } catch (const Error& error) {
    if (file_->fails_.exchange(true)) return;
    log::error("md5: {}: blocks that are written are not remembered until this is mended",
               error.what());
  }
}

bool DigestFile::forget(BlockNumber first, std::uint64_t count) {
  // The regions at the ends have other blocks, too.
  const auto head = regions_.open(regions_of(first, 1));
  const auto tail = regions_.open(regions_of({first.value + count - 1}, 1));
  if (!head || !tail) return false;
  punch(first, count);
  file_->sync_data();
  return true;
}

void DigestFile::punch(BlockNumber first, std::uint64_t count) {
  const std::uint64_t begin = offset_of_record(first);
  const std::uint64_t end = std::min(begin + count * kRecord_bytes, file_->size_bytes());
  if (begin < end) file_->punch_hole(end - begin, begin);
}

}  // namespace nbdstack
