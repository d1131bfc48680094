#include "filters/md5/md5_file_record.hpp"

#include <cstring>

#include "common/block/zeros.hpp"
#include "common/hash/xxh3.hpp"

namespace nbdstack {
namespace {

enum class RecordState : std::uint8_t { unknown = 0, written = 1, doubtful = 2 };

// The record in the file.
struct RawRecord {
  Md5Digest digest;
  Md5Digest previous_digest;
  std::int64_t written_at_s;
  std::uint32_t length;
  std::uint32_t previous_length;
  RecordState state;
  std::array<std::byte, 3> unused;
  std::uint32_t generation;
  std::uint64_t checksum;
};
static_assert(sizeof(RawRecord) == kRecord_bytes);

std::uint64_t checksum_of(const RawRecord& raw, BlockNumber block, std::uint64_t seed) {
  return xxh3_64(std::as_bytes(std::span(&raw, 1)).first(offsetof(RawRecord, checksum)),
                 seed + block.value);
}

}  // namespace

void encode_record(const std::optional<Md5FileRecord>& record, BlockNumber block,
                   std::uint64_t seed, RecordBytes bytes, std::uint32_t generation) {
  RawRecord raw{};
  if (record) {
    raw.digest = record->content.digest;
    raw.length = record->content.length;
    if (record->previous) {
      raw.previous_digest = record->previous->digest;
      raw.previous_length = record->previous->length;
    }
    raw.written_at_s = record->written_at_s;
    raw.state = record->doubtful ? RecordState::doubtful : RecordState::written;
    raw.generation = generation;
    raw.checksum = checksum_of(raw, block, seed);
  }
  std::memcpy(bytes.data(), &raw, sizeof(raw));
}

DecodedRecord decode_record(std::span<const std::byte, kRecord_bytes> bytes, BlockNumber block,
                            std::uint64_t seed, std::uint32_t generation) {
  if (is_zero(bytes)) return {};
  RawRecord raw{};
  std::memcpy(&raw, bytes.data(), sizeof(raw));
  const bool known = raw.state == RecordState::written || raw.state == RecordState::doubtful;
  if (!known || raw.checksum != checksum_of(raw, block, seed)) return {std::nullopt, true};
  Md5FileRecord record{
      .content = {raw.digest, raw.length},
      .previous = std::nullopt,
      .written_at_s = raw.written_at_s,
      .doubtful = raw.state == RecordState::doubtful || raw.generation < generation};
  if (raw.previous_length > 0) record.previous = Content{raw.previous_digest, raw.previous_length};
  return {record, false};
}

}  // namespace nbdstack
