// Reads a part of an object, widened to what can be verified by the object's checksums:
//
//   the object has                           what is read        the part is
//   checksums of pieces                      whole pieces        verified by them
//   one of the whole, up to 64 KiB long      all of it           verified by that
//   one of the whole, longer                 whole pieces        verified by pieces learned
//                                                                from it (learned_pieces.hpp), else
//                                                                read again with the whole object
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

// The checksums of an object, which its store keeps beside the body.
struct ObjectChecksums {
  std::string whole{};  // XXH3-128 in hex; none if empty
  std::optional<PieceChecksums> pieces{};
};

// Returns the checksums for parts of an object of that length.
ChecksumKind kind_of(const ObjectChecksums& checksums, std::uint64_t object_bytes);

struct PartVerdict {
  enum class Kind : std::uint8_t {
    verified,
    damaged,      // `reason` has the details
    needs_whole,  // only the whole object can be verified
    unverified,   // it has no checksum
  };
  Kind kind = Kind::unverified;
  std::string reason{};
};

class PartRead {
 public:
  // `wanted` outlives this; `part` is its place in the object.
  PartRead(std::span<std::byte> wanted, const ObjectPart& part);

  // The range to read, and the buffer for it.
  [[nodiscard]] const Range& range() const { return range_; }
  [[nodiscard]] std::span<std::byte> buffer() {
    return storage_.empty() ? wanted_ : std::span(storage_);
  }

  // Called when buffer() contains what is said to be the object's content at range().
  [[nodiscard]] PartVerdict verify(const ObjectChecksums& checksums, const LearnedPieces& learned);

  // Copies the part to `wanted`: from buffer(), or from the whole object.
  void finish() { copy_from(buffer(), range_.offset); }
  void finish_from_whole(std::span<const std::byte> whole) { copy_from(whole, 0); }

 private:
  void copy_from(std::span<const std::byte> content, std::uint64_t offset);

  const std::span<std::byte> wanted_;
  const ObjectPart part_;
  const Range range_;
  std::vector<std::byte> storage_;  // empty if exactly the wanted bytes are read
};

}  // namespace nbdstack
