// Checksums of the pieces of an object, to verify a part of it without reading all.
//
//   object         its pieces                                              checksums
//   up to 64 KiB   one: the object                                         none: the whole has
//                                                                          one
//   up to 32 MiB   64 KiB each, or the smallest power of two that makes    one a piece
//                  at most 128 pieces; the last one may be shorter
//   longer         none: no program of ours stores such an object          none
//
// The checksum of piece i is XXH3-64 of its bytes with the seed i, so a piece in another's place is
// detected. An object's metadata has room for 128 pieces in S3: 2 KiB with all names.
//
// As text, for metadata, they are VERSION:PIECE:OBJECT:CHECKSUMS: 1, the length of a piece and that
// of the object in bytes, and the checksums in base64, 8 bytes each, the most significant first. A
// text that does not fit an object of the given length is an error, and not "no checksums".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/block/range.hpp"

namespace nbdstack {

class PieceChecksums {
 public:
  static constexpr std::uint64_t kPiece_bytes_min = std::uint64_t{64} << 10U;
  static constexpr std::uint64_t kPieces_max = 128;
  static constexpr std::uint64_t kObject_bytes_max = std::uint64_t{32} << 20U;
  static constexpr std::size_t kChecksum_bytes = 8;

  // Returns the length of a piece of such an object, or nothing if it has no checksums of pieces.
  static std::optional<std::uint64_t> piece_bytes_of(std::uint64_t object_bytes);

  // Returns the range to read in order to verify `wanted`, a part of the object: never more than
  // the object. If that is too long for checksums, returns `wanted`.
  static Range widened(const Range& wanted, std::uint64_t object_bytes);

  // Makes those of a whole object, or nothing if it has none.
  static std::optional<PieceChecksums> of(std::span<const std::byte> object);

  // For an object of that length. Both throw Error(EIO) with the fault, but without a name.
  static PieceChecksums parse_text(std::string_view text, std::uint64_t object_bytes);
  static PieceChecksums parse_bytes(std::span<const std::byte> checksums, std::uint64_t piece_bytes,
                                    std::uint64_t object_bytes);

  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] std::vector<std::byte> to_bytes() const;  // the checksums alone

  [[nodiscard]] std::uint64_t piece_bytes() const { return piece_bytes_; }
  [[nodiscard]] std::uint64_t object_bytes() const { return object_bytes_; }
  [[nodiscard]] std::size_t count() const { return checksums_.size(); }

  // `content` is said to be the object's at `offset`: whole pieces, as widened() makes them.
  // Returns nothing if all of them match, else the fault of the first that does not.
  [[nodiscard]] std::optional<std::string> fault_in(std::span<const std::byte> content,
                                                    std::uint64_t offset) const;

  friend bool operator==(const PieceChecksums&, const PieceChecksums&) = default;

 private:
  PieceChecksums(std::uint64_t piece_bytes, std::uint64_t object_bytes)
      : piece_bytes_(piece_bytes), object_bytes_(object_bytes) {}

  std::uint64_t piece_bytes_;
  std::uint64_t object_bytes_;
  std::vector<std::uint64_t> checksums_;
};

}  // namespace nbdstack
