#include "filters/cache/store/durable/record.hpp"

#include <bit>
#include <cstring>
#include <utility>

#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {
namespace {

struct Fixed {
  std::uint64_t checksum;
  std::uint32_t length;
  std::uint8_t kind;
  std::uint8_t flag;
  std::uint16_t pages;  // how many pairs of checksums follow
  std::uint64_t sequence;
  std::uint64_t durable_sequence;
  std::uint32_t slot;
  std::uint32_t unused;
  std::uint64_t first;
  std::uint64_t second;
  std::uint64_t copies;
};
static_assert(sizeof(Fixed) == 64);

constexpr std::size_t kPair_bytes = 16;

// Whether a disk of this geometry has what the record speaks of.
bool fits(const Record& record, const BlockGeometry& geometry) {
  using Kind = Record::Kind;
  if (record.kind == Kind::commit) return true;
  if (record.kind == Kind::zeros_added || record.kind == Kind::zeros_removed) {
    return record.first <= geometry.size_bytes() &&
           record.second <= geometry.size_bytes() - record.first;
  }
  const bool names_block = record.kind == Kind::wrote || record.kind == Kind::zeroed;
  if (names_block && record.first >= geometry.block_count()) return false;
  const PageMask all = PageGeometry(geometry.block_size()).all(geometry.block_size());
  if (((record.second | record.copies) & ~all) != 0) return false;
  const bool has_content = record.kind == Kind::wrote || record.kind == Kind::rewrote;
  const auto pages = static_cast<std::size_t>(std::popcount(record.second));
  return !has_content || record.new_checksums.size() == pages;
}

}  // namespace

void encode(const Record& record, std::uint64_t generation, std::vector<std::byte>& buffer) {
  const std::size_t pairs = record.new_checksums.size();
  const std::size_t length = sizeof(Fixed) + pairs * kPair_bytes;
  Fixed fixed{.checksum = 0,
              .length = static_cast<std::uint32_t>(length),
              .kind = static_cast<std::uint8_t>(record.kind),
              .flag = static_cast<std::uint8_t>(record.flag ? 1 : 0),
              .pages = static_cast<std::uint16_t>(pairs),
              .sequence = record.sequence,
              .durable_sequence = record.durable_sequence,
              .slot = record.slot,
              .unused = 0,
              .first = record.first,
              .second = record.second,
              .copies = record.copies};
  const std::size_t begin = buffer.size();
  buffer.resize(begin + length);
  const std::span<std::byte> bytes = std::span(buffer).subspan(begin);
  if (pairs > 0) {
    std::memcpy(&bytes[sizeof(Fixed)], record.new_checksums.data(), pairs * 8);
    std::memcpy(&bytes[sizeof(Fixed) + pairs * 8], record.old_checksums.data(), pairs * 8);
  }
  std::memcpy(bytes.data(), &fixed, sizeof fixed);
  fixed.checksum = checksum_of(bytes.subspan(8), generation);
  std::memcpy(bytes.data(), &fixed.checksum, sizeof fixed.checksum);
}

std::optional<Decoded> decode(std::span<const std::byte> bytes, std::uint64_t generation,
                              const BlockGeometry& geometry) {
  Fixed fixed{};
  if (bytes.size() < sizeof fixed) return std::nullopt;
  std::memcpy(&fixed, bytes.data(), sizeof fixed);
  const std::size_t pairs = fixed.pages;
  if (pairs > PageGeometry::kMostPages || fixed.length != sizeof fixed + pairs * kPair_bytes ||
      fixed.length > bytes.size() ||
      fixed.checksum != checksum_of(bytes.subspan(8, fixed.length - 8), generation)) {
    return std::nullopt;
  }
  if (fixed.kind < static_cast<std::uint8_t>(Record::Kind::wrote) ||
      fixed.kind > static_cast<std::uint8_t>(Record::Kind::commit)) {
    return std::nullopt;
  }
  Decoded result{.record = {.kind = static_cast<Record::Kind>(fixed.kind),
                            .flag = fixed.flag != 0,
                            .sequence = fixed.sequence,
                            .durable_sequence = fixed.durable_sequence,
                            .slot = fixed.slot,
                            .first = fixed.first,
                            .second = fixed.second,
                            .copies = fixed.copies,
                            .new_checksums = std::vector<std::uint64_t>(pairs),
                            .old_checksums = std::vector<std::uint64_t>(pairs)},
                 .length = fixed.length};
  if (pairs > 0) {
    std::memcpy(result.record.new_checksums.data(), &bytes[sizeof fixed], pairs * 8);
    std::memcpy(result.record.old_checksums.data(), &bytes[sizeof fixed + pairs * 8], pairs * 8);
  }
  return fits(result.record, geometry) ? std::optional(std::move(result)) : std::nullopt;
}

}  // namespace nbdstack
