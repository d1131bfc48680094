#include "plugins/s3/store/piece_checksums.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "common/error.hpp"
#include "common/hash/base64.hpp"
#include "common/hash/xxh3.hpp"
#include "common/io/big_endian.hpp"
#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kVersion = 1;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::uint64_t pieces_in(std::uint64_t object_bytes, std::uint64_t piece_bytes) {
  return (object_bytes + piece_bytes - 1) / piece_bytes;
}

// Returns the number before the next colon, or nothing if that is none, and removes both from
// `text`.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::uint64_t number = 0;
  const bool is_number = parse_number(text.substr(0, colon), number);
  text.remove_prefix(colon + 1);
  return is_number ? std::optional(number) : std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> PieceChecksums::piece_bytes_of(std::uint64_t object_bytes) {
  if (object_bytes <= kPiece_bytes_min || object_bytes > kObject_bytes_max) return std::nullopt;
  return std::max(kPiece_bytes_min, std::bit_ceil(pieces_in(object_bytes, kPieces_max)));
}

Range PieceChecksums::widened(const Range& wanted, std::uint64_t object_bytes) {
  if (object_bytes <= kPiece_bytes_min) return {0, object_bytes};
  const auto piece_bytes = piece_bytes_of(object_bytes);
  if (!piece_bytes.has_value()) return wanted;
  const std::uint64_t begin = wanted.offset / *piece_bytes * *piece_bytes;
  const std::uint64_t end = std::min(round_up(wanted.end(), *piece_bytes), object_bytes);
  return {begin, end - begin};
}

std::optional<PieceChecksums> PieceChecksums::of(std::span<const std::byte> object) {
  const auto piece_bytes = piece_bytes_of(object.size());
  if (!piece_bytes.has_value()) return std::nullopt;
  PieceChecksums pieces(*piece_bytes, object.size());
  pieces.checksums_.reserve(pieces_in(object.size(), *piece_bytes));
  while (!object.empty()) {
    const auto piece = object.first(std::min<std::size_t>(object.size(), *piece_bytes));
    pieces.checksums_.push_back(xxh3_64(piece, pieces.checksums_.size()));
    object = object.subspan(piece.size());
  }
  return pieces;
}

PieceChecksums PieceChecksums::parse_text(std::string_view text, std::uint64_t object_bytes) {
  const auto version = take_number(text);
  if (version.has_value() && *version != kVersion) {
    throw Error(EIO, fmt::format("its checksums of pieces are of version {}, and version {} is the "
                                 "only one known: a newer nbdstack wrote it",
                                 *version, kVersion));
  }
  const auto piece_bytes = take_number(text);
  const auto covered_bytes = take_number(text);
  const auto checksums = from_base64(text);
  if (!version || !piece_bytes || !covered_bytes || !checksums.has_value()) {
    throw Error(EIO, "its checksums of pieces are damaged");
  }
  if (*covered_bytes != object_bytes) {
    throw Error(EIO, fmt::format("its checksums of pieces are those of an object of {} bytes, but "
                                 "it has {}",
                                 *covered_bytes, object_bytes));
  }
  return parse_bytes(*checksums, *piece_bytes, object_bytes);
}

PieceChecksums PieceChecksums::parse_bytes(std::span<const std::byte> checksums,
                                           std::uint64_t piece_bytes, std::uint64_t object_bytes) {
  if (piece_bytes_of(object_bytes) != piece_bytes ||
      checksums.size() != pieces_in(object_bytes, piece_bytes) * kChecksum_bytes) {
    throw Error(EIO, fmt::format("{} bytes of checksums for pieces of {} bytes do not belong to an "
                                 "object of {} bytes",
                                 checksums.size(), piece_bytes, object_bytes));
  }
  PieceChecksums pieces(piece_bytes, object_bytes);
  pieces.checksums_.reserve(checksums.size() / kChecksum_bytes);
  for (std::size_t at = 0; at < checksums.size(); at += kChecksum_bytes) {
    pieces.checksums_.push_back(load_big_endian(checksums.subspan(at, kChecksum_bytes)));
  }
  return pieces;
}

std::string PieceChecksums::to_text() const {
  return fmt::format("{}:{}:{}:{}", kVersion, piece_bytes_, object_bytes_, to_base64(to_bytes()));
}

std::vector<std::byte> PieceChecksums::to_bytes() const {
  std::vector<std::byte> bytes(checksums_.size() * kChecksum_bytes);
  for (std::size_t i = 0; i < checksums_.size(); ++i) {
    store_big_endian(checksums_[i], std::span(bytes).subspan(i * kChecksum_bytes, kChecksum_bytes));
  }
  return bytes;
}

std::optional<std::string> PieceChecksums::fault_in(std::span<const std::byte> content,
                                                    std::uint64_t offset) const {
  const Range range{offset, content.size()};
  if (range.empty() || range.end() > object_bytes_ || widened(range, object_bytes_) != range) {
    throw Error(EINVAL, fmt::format("{} bytes at {} are no pieces of an object of {} bytes",
                                    content.size(), offset, object_bytes_));
  }
  for (std::uint64_t at = offset; at < range.end(); at += piece_bytes_) {
    const std::uint64_t length = std::min(piece_bytes_, range.end() - at);
    const std::uint64_t index = at / piece_bytes_;
    const std::uint64_t found = xxh3_64(content.subspan(at - offset, length), index);
    if (found != checksums_[index]) {
      return fmt::format(
          "the checksum of its {} bytes at {} is {:016x}, but that of what was read "
          "there is {:016x}",
          length, at, checksums_[index], found);
    }
  }
  return std::nullopt;
}

}  // namespace nbdstack
