// How an object lies in a file: its body, then a trailer of 48 bytes that tells whether the body is
// whole.
//
//   offset in trailer   bytes
//                   0       8  "nbdstack"
//                   8       4  version of this format: 1
//                  12       4  0
//                  16       8  length of the body
//                  24      16  XXH3-128 of the body
//                  40       8  first 8 bytes of the XXH3-128 of trailer bytes 0 ... 39
//
// Numbers are little-endian. The trailer is part of the file, and no extended attribute, because
// those are not everywhere and get lost when files are copied.
//
// What a file turns out to be when it is opened:
//
//   state     how it looks                         its body
//   sealed    a valid trailer                      what comes before it; verified by a whole read
//   foreign   the last 48 bytes are no trailer     the whole file, as somebody copied it here
//   damaged   they begin as one, but do not fit    none: EIO
//
// A sealed file that is cut short loses its trailer and looks foreign; it is found out by its
// length, which every whole read knows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <span>
#include <string>

#include "common/io/file.hpp"

namespace nbdstack {

class ObjectFile {
 public:
  // Nothing where there is no regular file of that path.
  static std::optional<ObjectFile> open(const std::string& path);

  // The length of the body; of a damaged file, that of the file.
  [[nodiscard]] std::uint64_t body_bytes() const { return body_bytes_; }

  [[nodiscard]] std::time_t modified_at() const { return modified_at_; }

  // Of a sealed file, the checksum of its body in hex, quoted as S3's are; else empty.
  [[nodiscard]] std::string etag() const;

  // The whole body, verified. Error(EIO) that names the file when `body` has another length, when
  // the file is damaged, or when its content does not match its checksum.
  void read_body(std::span<std::byte> body) const;

  // A part of the body, not verified. Error(EIO) when the body does not reach that far.
  void read_range(std::span<std::byte> part, std::uint64_t offset) const;

 private:
  using Checksum = std::array<std::byte, 16>;
  enum class State : std::uint8_t { sealed, foreign, damaged };

  ObjectFile(File file, std::time_t modified_at);
  void read_trailer();
  void check_not_damaged() const;

  File file_;
  std::time_t modified_at_;
  State state_ = State::foreign;
  std::uint64_t body_bytes_ = 0;
  Checksum checksum_{};  // of a sealed file
};

// Writes body and trailer to an empty file, and makes them durable. Returns the ETag.
std::string write_object_file(const File& file, std::span<const std::byte> body);

}  // namespace nbdstack
