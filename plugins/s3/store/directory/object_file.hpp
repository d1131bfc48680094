// The format of an object in a file: its body, the checksums of its pieces if it has some
// (piece_checksums.hpp), and a trailer of 48 bytes that tells whether all of it is whole.
//
//   offset in trailer   bytes
//                   0       8  "nbdstack"
//                   8       4  version of this format: 1 without, 2 with checksums of pieces
//                  12       4  length of a piece; 0 in version 1
//                  16       8  length of the body
//                  24      16  XXH3-128 of the body
//                  40       8  first 8 bytes of the XXH3-128 of the checksums of the pieces and
//                              trailer bytes 0 ... 39
//
// Numbers are little-endian, but checksums of pieces, 8 bytes each, begin with the most
// significant. All this is in the file and not in extended attributes, because not every file
// system has those, and copies of files lose them.
//
// An opened file is in one of these states:
//
//   state     recognised by                      its body
//   sealed    a valid trailer                    everything before the checksums; verified, whole
//                                                or in part
//   foreign   the last 48 bytes are no trailer   the whole file, as a user copied it here
//   damaged   they begin as one, but do not fit  none: EIO
//
// A sealed file that is cut short loses its trailer and looks foreign; its length gives it away,
// because every read knows the right one.
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <span>
#include <string>

#include "common/io/file.hpp"
#include "plugins/s3/store/part_read.hpp"

namespace nbdstack {

class ObjectFile {
 public:
  // Returns nothing if there is no regular file of that path.
  static std::optional<ObjectFile> open(const std::string& path);

  // Returns the length of the body; of a damaged file, that of the file.
  [[nodiscard]] std::uint64_t body_bytes() const { return body_bytes_; }

  [[nodiscard]] std::time_t modified_at() const { return status_.st_mtime; }

  // Returns the quoted hexadecimal checksum of a sealed file's body, like S3. For a foreign file it
  // is a text that changes when the file is written to or replaced; for a damaged one it is empty.
  [[nodiscard]] std::string etag() const;

  // The checksum of a sealed file; empty if it has none that covers the whole.
  [[nodiscard]] const std::string& whole_checksum() const { return checksums_.whole; }
  [[nodiscard]] ChecksumKind checksum_kind() const { return kind_of(checksums_, body_bytes_); }

  // Reads and verifies the whole body. Throws Error(EIO) that names the file if `body` has another
  // length, the file is damaged, or its content does not match its checksum.
  void read_body(std::span<std::byte> body) const;

  // Reads and verifies a part of the body. Throws Error(EIO) if the body's length or the file's
  // ETag differs from `part`, or the file is damaged. Returns false if no checksum covers the part.
  bool read_part(std::span<std::byte> target, const ObjectPart& part, LearnedPieces& learned) const;

 private:
  enum class State : std::uint8_t { sealed, foreign, damaged };

  ObjectFile(File file, const struct stat& status);
  void read_trailer();
  void check_not_damaged() const;
  void check_length(std::uint64_t expected_bytes) const;
  void check_identity(const std::string& expected, const std::string& found) const;
  void read_whole(PartRead& read, const ObjectPart& part, LearnedPieces& learned) const;

  File file_;
  struct stat status_;
  State state_ = State::foreign;
  std::uint64_t body_bytes_ = 0;
  ObjectChecksums checksums_;  // of a sealed file
};

// Writes body, checksums and trailer to an empty file, and makes them durable. Returns the ETag.
std::string write_object_file(const File& file, std::span<const std::byte> body);

}  // namespace nbdstack
