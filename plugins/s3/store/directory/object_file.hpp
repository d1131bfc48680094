// How an object lies in a file: its body, then the checksums of its pieces where it has some
// (piece_checksums.hpp), then a trailer of 48 bytes that tells whether all that is whole.
//
//   offset in trailer   bytes
//                   0       8  "nbdstack"
//                   8       4  version of this format: 1 without, 2 with checksums of pieces
//                  12       4  length of a piece; 0 in version 1
//                  16       8  length of the body
//                  24      16  XXH3-128 of the body
//                  40       8  first 8 bytes of the XXH3-128 of the checksums of the pieces and trailer
//                              bytes 0 ... 39
//
// Numbers are little-endian, but for the checksums of pieces, which are 8 bytes each and begin with the
// most significant. All this is part of the file, and no extended attribute, because those are not
// everywhere and get lost when files are copied.
//
// What a file turns out to be when it is opened:
//
//   state     how it looks                         its body
//   sealed    a valid trailer                      what comes before it and the checksums; verified,
//                                                  whole or in part
//   foreign   the last 48 bytes are no trailer     the whole file, as somebody copied it here
//   damaged   they begin as one, but do not fit    none: EIO
//
// A sealed file that is cut short loses its trailer and looks foreign; it is found out by its length,
// which every read knows.
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
  // Nothing where there is no regular file of that path.
  static std::optional<ObjectFile> open(const std::string& path);

  // The length of the body; of a damaged file, that of the file.
  [[nodiscard]] std::uint64_t body_bytes() const { return body_bytes_; }

  [[nodiscard]] std::time_t modified_at() const { return status_.st_mtime; }

  // Of a sealed file, the checksum of its body in hex, quoted as S3's are. Of a foreign one, what
  // changes when somebody writes to it or puts another in its place. Of a damaged one, nothing.
  [[nodiscard]] std::string etag() const;

  // Of a sealed file only; empty: nothing vouches for it.
  [[nodiscard]] const std::string& whole_checksum() const { return checksums_.whole; }
  [[nodiscard]] ChecksumKind checksum_kind() const { return kind_of(checksums_, body_bytes_); }

  // The whole body, verified. Error(EIO) that names the file when `body` has another length, when
  // the file is damaged, or when its content does not match its checksum.
  void read_body(std::span<std::byte> body) const;

  // A part of the body, verified. Error(EIO) when the body is not as long as `part` says, when the file
  // is not the one of the ETag there, or when it is damaged. False: nothing vouches for the part.
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
