// Checksums of the pieces of an object, so that a part of it can be verified without reading all.
//
//   object            its pieces                                                   checksums
//   up to 64 KiB      one: the object                                              none: that of the
//                                                                                  whole does
//   up to 32 MiB      64 KiB each, or the smallest power of two that makes 128     one a piece
//                     pieces of it at most; the last one may be shorter
//   longer            none: no program of ours stores such an object               none
//
// The checksum of piece i is XXH3-64 of its bytes with the seed i, so that a piece which lies in
// another's place is noticed. 128 pieces are what S3 has room for in an object's metadata: 2 KiB with
// all names.
//
// As text, for metadata, they are VERSION:PIECE:OBJECT:CHECKSUMS: 1, the length of a piece and that of
// the object in bytes, and the checksums in base64, 8 bytes each, the most significant first. A text
// that does not belong to an object of the length at hand is an error, and not "no checksums".
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

  // The length of a piece of such an object; nothing where it has no checksums of pieces.
  static std::optional<std::uint64_t> piece_bytes_of(std::uint64_t object_bytes);

  // What has to be read in order to verify `wanted`: never more than the object, of which `wanted` is
  // a part. Of an object that is too long for checksums, `wanted` itself.
  static Range widened(const Range& wanted, std::uint64_t object_bytes);

  // Of a whole object; nothing where it has none.
  static std::optional<PieceChecksums> of(std::span<const std::byte> object);

  // Of an object of that length. Both throw Error(EIO) that says what is wrong, and names nothing.
  static PieceChecksums parse_text(std::string_view text, std::uint64_t object_bytes);
  static PieceChecksums parse_bytes(std::span<const std::byte> checksums, std::uint64_t piece_bytes,
                                    std::uint64_t object_bytes);

  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] std::vector<std::byte> to_bytes() const;  // the checksums alone

  [[nodiscard]] std::uint64_t piece_bytes() const { return piece_bytes_; }
  [[nodiscard]] std::uint64_t object_bytes() const { return object_bytes_; }
  [[nodiscard]] std::size_t count() const { return checksums_.size(); }

  // `content` is what the object is said to have at `offset`: whole pieces, as widened() makes them.
  // Nothing if all of them are what was stored, else what is wrong with the first that is not.
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
