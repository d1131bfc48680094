#include "plugins/s3/object_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kTrailerMagic = "nbdstack";
constexpr std::uint64_t kTrailerVersion = 1;

constexpr std::size_t kTrailerVersionAt =
    8;  // the version's 4 bytes and the 4 behind it as one number
constexpr std::size_t kLengthAt = 16;
constexpr std::size_t kChecksumAt = 24;
constexpr std::size_t kChecksum_bytes = 16;
constexpr std::size_t kCheckAt = 40;
constexpr std::size_t kTrailer_bytes = 48;
using Trailer = std::array<std::byte, kTrailer_bytes>;

void put_number(Trailer& trailer, std::size_t at, std::uint64_t value) {
  for (std::size_t i = 0; i < 8; ++i) trailer[at + i] = static_cast<std::byte>(value >> (8 * i));
}

std::uint64_t get_number(const Trailer& trailer, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i > 0; --i) {
    value = (value << 8U) | std::to_integer<std::uint64_t>(trailer[at + i - 1]);
  }
  return value;
}

// The bytes 40 ... 47 that belong to the bytes before them.
std::array<std::byte, 8> check_of(const Trailer& trailer) {
  const auto hash = xxh3_128(std::span(trailer).first(kCheckAt));
  std::array<std::byte, 8> check{};
  std::copy_n(hash.begin(), check.size(), check.begin());
  return check;
}

Trailer trailer_of(std::span<const std::byte> body) {
  Trailer trailer{};
  std::memcpy(trailer.data(), kTrailerMagic.data(), kTrailerMagic.size());
  put_number(trailer, kTrailerVersionAt, kTrailerVersion);
  put_number(trailer, kLengthAt, body.size());
  const auto checksum = xxh3_128(body);
  std::copy(checksum.begin(), checksum.end(), trailer.begin() + kChecksumAt);
  const auto check = check_of(trailer);
  std::copy(check.begin(), check.end(), trailer.begin() + kCheckAt);
  return trailer;
}

std::string etag_of(std::span<const std::byte> checksum) {
  return fmt::format("\"{}\"", to_hex(checksum));
}

bool begins_as_trailer(const Trailer& trailer) {
  return std::memcmp(trailer.data(), kTrailerMagic.data(), kTrailerMagic.size()) == 0;
}

bool fits(const Trailer& trailer, std::uint64_t file_bytes) {
  const auto check = check_of(trailer);
  return std::equal(check.begin(), check.end(), trailer.begin() + kCheckAt) &&
         get_number(trailer, kTrailerVersionAt) == kTrailerVersion &&
         get_number(trailer, kLengthAt) == file_bytes - kTrailer_bytes;
}

}  // namespace

std::optional<ObjectFile> ObjectFile::open(const std::string& path) {
  // Not blocking: a FIFO in the directory must not stop the server.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor == -1) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw system_error(errno, "open {}", path);
  }
  File file(descriptor, path);
  struct stat status {};
  if (::fstat(descriptor, &status) == -1) throw system_error(errno, "stat {}", path);
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  return ObjectFile(std::move(file), status.st_mtime);
}

ObjectFile::ObjectFile(File file, std::time_t modified_at)
    : file_(std::move(file)), modified_at_(modified_at), body_bytes_(file_.size_bytes()) {
  if (body_bytes_ >= kTrailer_bytes) read_trailer();
}

void ObjectFile::read_trailer() {
  Trailer trailer;
  file_.read_at(trailer, body_bytes_ - kTrailer_bytes);
  if (!begins_as_trailer(trailer)) return;
  if (!fits(trailer, body_bytes_)) {
    state_ = State::damaged;
    return;
  }
  state_ = State::sealed;
  body_bytes_ -= kTrailer_bytes;
  std::copy_n(trailer.begin() + kChecksumAt, checksum_.size(), checksum_.begin());
}

std::string ObjectFile::etag() const {
  return state_ == State::sealed ? etag_of(checksum_) : std::string();
}

void ObjectFile::check_not_damaged() const {
  if (state_ == State::damaged) {
    throw Error(EIO, fmt::format("{}: damaged: its trailer is invalid", file_.path()));
  }
}

void ObjectFile::read_body(std::span<std::byte> body) const {
  check_not_damaged();
  if (body.size() != body_bytes_) {
    throw Error(EIO, fmt::format("{}: an object of {} bytes was expected, this is one of {}{}",
                                 file_.path(), body.size(), body_bytes_,
                                 state_ == State::foreign ? " without a checksum" : ""));
  }
  file_.read_at(body, 0);
  if (state_ == State::sealed && xxh3_128(body) != checksum_) {
    throw Error(EIO,
                fmt::format("{}: damaged: its content does not match its checksum", file_.path()));
  }
}

void ObjectFile::read_range(std::span<std::byte> part, std::uint64_t offset) const {
  check_not_damaged();
  if (offset > body_bytes_ || part.size() > body_bytes_ - offset) {
    throw Error(EIO,
                fmt::format("{}: {} bytes at {} were asked for, but the object is {} bytes long",
                            file_.path(), part.size(), offset, body_bytes_));
  }
  file_.read_at(part, offset);
}

std::string write_object_file(const File& file, std::span<const std::byte> body) {
  const Trailer trailer = trailer_of(body);
  file.write_at(body, 0);
  file.write_at(trailer, body.size());
  file.sync_data();
  return etag_of(std::span(trailer).subspan(kChecksumAt, kChecksum_bytes));
}

}  // namespace nbdstack
