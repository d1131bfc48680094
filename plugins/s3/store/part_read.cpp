#include "plugins/s3/store/part_read.hpp"

#include <fmt/core.h>

#include <cstring>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"

namespace nbdstack {
namespace {

PartVerdict verdict_of(const std::optional<std::string>& fault) {
  if (!fault.has_value()) return {.kind = PartVerdict::Kind::verified};
  return {.kind = PartVerdict::Kind::damaged, .reason = *fault};
}

}  // namespace

ChecksumKind kind_of(const ObjectChecksums& checksums, std::uint64_t object_bytes) {
  if (checksums.pieces.has_value()) return ChecksumKind::pieces;
  if (checksums.whole.empty()) return ChecksumKind::none;
  return object_bytes <= PieceChecksums::kPiece_bytes_min ? ChecksumKind::pieces
                                                          : ChecksumKind::whole;
}

PartRead::PartRead(std::span<std::byte> wanted, const ObjectPart& part)
    : wanted_(wanted),
      part_(part),
      range_(PieceChecksums::widened({part.offset, wanted.size()}, part.object_bytes)) {
  if (part.offset > part.object_bytes || wanted.size() > part.object_bytes - part.offset) {
    throw Error(EIO, fmt::format("{} bytes at {} were asked for of an object of {} bytes",
                                 wanted.size(), part.offset, part.object_bytes));
  }
  if (range_.length != wanted.size()) storage_.resize(range_.length);
}

PartVerdict PartRead::verify(const ObjectChecksums& checksums, const LearnedPieces& learned) {
  if (checksums.pieces.has_value()) {
    return verdict_of(checksums.pieces->fault_in(buffer(), range_.offset));
  }
  if (checksums.whole.empty()) return {};
  if (range_.length == part_.object_bytes) {
    const std::string found = to_hex(xxh3_128(buffer()));
    if (found == checksums.whole) return {.kind = PartVerdict::Kind::verified};
    return {.kind = PartVerdict::Kind::damaged,
            .reason = fmt::format("its checksum is {}, but that of what was read is {}",
                                  checksums.whole, found)};
  }
  const auto pieces = learned.find(checksums.whole);
  if (pieces != nullptr && pieces->object_bytes() == part_.object_bytes) {
    return verdict_of(pieces->fault_in(buffer(), range_.offset));
  }
  return {.kind = part_.object_bytes <= PieceChecksums::kObject_bytes_max
                      ? PartVerdict::Kind::needs_whole
                      : PartVerdict::Kind::unverified};
}

void PartRead::copy_from(std::span<const std::byte> content, std::uint64_t offset) {
  const std::byte* const source = content.data() + (part_.offset - offset);
  if (source != wanted_.data()) std::memcpy(wanted_.data(), source, wanted_.size());
}

}  // namespace nbdstack
