// A read of a part of an object, widened to what can be verified, and what comes of holding it against
// the checksums that the object carries:
//
//   the object has                           what is read        the part is
//   checksums of pieces                      whole pieces        verified by them
//   one of the whole, up to 64 KiB long      all of it           verified by that
//   one of the whole, longer                 whole pieces        verified by pieces that were learned
//                                                                from it (learned_pieces.hpp), else
//                                                                read again in the whole, which is
//   none, or one and longer than 32 MiB      as if it had one    not verified
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plugins/s3/store/learned_pieces.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/store/piece_checksums.hpp"

namespace nbdstack {

// What vouches for an object, as its store keeps it beside the body.
struct ObjectChecksums {
  std::string whole{};  // XXH3-128 in hex; empty: none
  std::optional<PieceChecksums> pieces{};
};

// What an object of that length and those checksums has for its parts.
ChecksumKind kind_of(const ObjectChecksums& checksums, std::uint64_t object_bytes);

struct PartVerdict {
  enum class Kind : std::uint8_t {
    verified,
    damaged,      // `reason` says how
    needs_whole,  // only the whole object can be verified
    unverified,   // nothing vouches for it
  };
  Kind kind = Kind::unverified;
  std::string reason{};
};

class PartRead {
 public:
  // `wanted` outlives this; `part` says where it lies in the object.
  PartRead(std::span<std::byte> wanted, const ObjectPart& part);

  // What to read, and where to.
  [[nodiscard]] const Range& range() const { return range_; }
  [[nodiscard]] std::span<std::byte> buffer() {
    return storage_.empty() ? wanted_ : std::span(storage_);
  }

  // When buffer() holds what the object is said to have at range().
  [[nodiscard]] PartVerdict verify(const ObjectChecksums& checksums, const LearnedPieces& learned);

  // Hands the part over: out of buffer(), or out of the whole object.
  void finish() { copy_from(buffer(), range_.offset); }
  void finish_from_whole(std::span<const std::byte> whole) { copy_from(whole, 0); }

 private:
  void copy_from(std::span<const std::byte> content, std::uint64_t offset);

  const std::span<std::byte> wanted_;
  const ObjectPart part_;
  const Range range_;
  std::vector<std::byte> storage_;  // empty: what is read is what is wanted
};

}  // namespace nbdstack
