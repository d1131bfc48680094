#include "plugins/s3/store/directory/object_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kTrailerMagic = "nbdstack";
constexpr std::uint32_t kVersionOfWhole = 1;
constexpr std::uint32_t kVersionOfPieces = 2;

constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kPieceLengthAt = 12;
constexpr std::size_t kLengthAt = 16;
constexpr std::size_t kChecksumAt = 24;
constexpr std::size_t kChecksum_bytes = 16;
constexpr std::size_t kCheckAt = 40;
constexpr std::size_t kCheck_bytes = 8;
constexpr std::size_t kTrailer_bytes = 48;
constexpr std::size_t kTail_bytes_max =
    PieceChecksums::kPieces_max * PieceChecksums::kChecksum_bytes + kTrailer_bytes;

// The end of a file: a trailer, and possibly checksums of pieces before it.
using Tail = std::span<const std::byte>;

void put_number(std::span<std::byte> place, std::uint64_t value) {
  for (std::byte& each : place) {
    each = static_cast<std::byte>(value);
    value >>= 8U;
  }
}

std::uint64_t get_number(std::span<const std::byte> place) {
  std::uint64_t value = 0;
  for (std::size_t i = place.size(); i > 0; --i) {
    value = value << 8U | std::to_integer<std::uint64_t>(place[i - 1]);
  }
  return value;
}

// Returns the last bytes of a tail, which are the checksum of those before them.
std::span<const std::byte> check_in(Tail tail) {
  return tail.last(kCheck_bytes);
}

std::array<std::byte, kCheck_bytes> check_of(Tail tail) {
  const auto hash = xxh3_128(tail.first(tail.size() - kCheck_bytes));
  std::array<std::byte, kCheck_bytes> check{};
  std::copy_n(hash.begin(), check.size(), check.begin());
  return check;
}

bool begins_as_trailer(Tail trailer) {
  return std::memcmp(trailer.data(), kTrailerMagic.data(), kTrailerMagic.size()) == 0;
}

std::vector<std::byte> tail_of(std::span<const std::byte> body) {
  const auto pieces = PieceChecksums::of(body);
  std::vector<std::byte> tail;
  if (pieces.has_value()) tail = pieces->to_bytes();
  tail.resize(tail.size() + kTrailer_bytes);
  const auto trailer = std::span(tail).last(kTrailer_bytes);
  std::memcpy(trailer.data(), kTrailerMagic.data(), kTrailerMagic.size());
  put_number(trailer.subspan(kVersionAt, 4), pieces ? kVersionOfPieces : kVersionOfWhole);
  put_number(trailer.subspan(kPieceLengthAt, 4), pieces ? pieces->piece_bytes() : 0);
  put_number(trailer.subspan(kLengthAt, 8), body.size());
  const auto checksum = xxh3_128(body);
  std::copy(checksum.begin(), checksum.end(), trailer.begin() + kChecksumAt);
  std::ranges::copy(check_of(tail), trailer.begin() + kCheckAt);
  return tail;
}

// A body's length and its checksums.
struct Seal {
  std::uint64_t body_bytes = 0;
  ObjectChecksums checksums;
};

// `tail` is the end of a file of `file_bytes`, of the greatest length that a tail can have. Returns
// nothing if the trailer does not fit.
std::optional<Seal> parse_seal(Tail tail, std::uint64_t file_bytes) {
  const Tail trailer = tail.last(kTrailer_bytes);
  const std::uint64_t version = get_number(trailer.subspan(kVersionAt, 4));
  const std::uint64_t piece_bytes = get_number(trailer.subspan(kPieceLengthAt, 4));
  Seal seal{.body_bytes = get_number(trailer.subspan(kLengthAt, 8)),
            .checksums = {.whole = to_hex(trailer.subspan(kChecksumAt, kChecksum_bytes))}};
  const bool has_pieces = version == kVersionOfPieces;
  if (!has_pieces && (version != kVersionOfWhole || piece_bytes != 0)) return std::nullopt;
  if (seal.body_bytes > file_bytes - kTrailer_bytes) return std::nullopt;
  const std::uint64_t checksum_bytes = file_bytes - kTrailer_bytes - seal.body_bytes;
  if (checksum_bytes > tail.size() - kTrailer_bytes) return std::nullopt;
  if (!has_pieces && checksum_bytes != 0) return std::nullopt;
  const Tail whole_tail = tail.last(checksum_bytes + kTrailer_bytes);
  if (!std::ranges::equal(check_in(whole_tail), check_of(whole_tail))) return std::nullopt;
  try {
    if (has_pieces) {
      seal.checksums.pieces = PieceChecksums::parse_bytes(whole_tail.first(checksum_bytes),
                                                          piece_bytes, seal.body_bytes);
    }
  } catch (const Error&) {
    return std::nullopt;
  }
  return seal;
}

// Returns a text that differs from every other file's, and changes when the file is written to.
std::string identity_of(const struct stat& status) {
  return fmt::format("\"{:x}-{:x}-{:x}-{}.{:09}\"", status.st_dev, status.st_ino, status.st_size,
                     status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

struct stat status_of(const File& file) {
  struct stat status {};
  if (::fstat(file.descriptor(), &status) == -1) {
    throw system_error(errno, "stat {}", file.path());
  }
  return status;
}

}  // namespace

std::optional<ObjectFile> ObjectFile::open(const std::string& path) {
  // Non-blocking, because a FIFO in the directory must not stop the server.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor == -1) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw system_error(errno, "open {}", path);
  }
  File file(descriptor, path);
  const struct stat status = status_of(file);
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  return ObjectFile(std::move(file), status);
}

ObjectFile::ObjectFile(File file, const struct stat& status)
    : file_(std::move(file)),
      status_(status),
      body_bytes_(static_cast<std::uint64_t>(status.st_size)) {
  if (body_bytes_ >= kTrailer_bytes) read_trailer();
}

void ObjectFile::read_trailer() {
  std::array<std::byte, kTail_bytes_max> buffer;
  const auto tail = std::span(buffer).first(std::min<std::uint64_t>(body_bytes_, buffer.size()));
  file_.read_at(tail, body_bytes_ - tail.size());
  if (!begins_as_trailer(tail.last(kTrailer_bytes))) return;
  auto seal = parse_seal(tail, body_bytes_);
  if (!seal.has_value()) {
    state_ = State::damaged;
    return;
  }
  state_ = State::sealed;
  body_bytes_ = seal->body_bytes;
  checksums_ = std::move(seal->checksums);
}

std::string ObjectFile::etag() const {
  switch (state_) {
    case State::sealed:
      return fmt::format("\"{}\"", checksums_.whole);
    case State::foreign:
      return identity_of(status_);
    case State::damaged:
      break;
  }
  return {};
}

void ObjectFile::check_not_damaged() const {
  if (state_ == State::damaged) {
    throw Error(EIO, fmt::format("{}: damaged: its trailer is invalid", file_.path()));
  }
}

void ObjectFile::check_length(std::uint64_t expected_bytes) const {
  if (body_bytes_ == expected_bytes) return;
  throw Error(EIO, fmt::format("{}: an object of {} bytes was expected, this is one of {}{}",
                               file_.path(), expected_bytes, body_bytes_,
                               state_ == State::foreign ? " without a checksum" : ""));
}

void ObjectFile::check_identity(const std::string& expected, const std::string& found) const {
  if (expected.empty() || expected == found) return;
  throw Error(EIO, fmt::format("{}: the object was replaced or changed while it was being read: "
                               "restart the server to serve the new one",
                               file_.path()));
}

void ObjectFile::read_body(std::span<std::byte> body) const {
  check_not_damaged();
  check_length(body.size());
  file_.read_at(body, 0);
  if (state_ == State::sealed && to_hex(xxh3_128(body)) != checksums_.whole) {
    throw Error(EIO,
                fmt::format("{}: damaged: its content does not match its checksum", file_.path()));
  }
}

bool ObjectFile::read_part(std::span<std::byte> target, const ObjectPart& part,
                           LearnedPieces& learned) const {
  check_not_damaged();
  check_identity(part.etag, etag());
  check_length(part.object_bytes);
  PartRead read(target, part);
  file_.read_at(read.buffer(), read.range().offset);
  PartVerdict verdict = read.verify(checksums_, learned);
  if (verdict.kind == PartVerdict::Kind::needs_whole) {
    const LearnedPieces::Reading reading(learned, checksums_.whole);
    verdict = read.verify(checksums_, learned);  // other threads may have read it meanwhile
    if (verdict.kind == PartVerdict::Kind::needs_whole) {
      read_whole(read, part, learned);
      return true;
    }
  }
  if (verdict.kind == PartVerdict::Kind::damaged) {
    throw Error(EIO, fmt::format("{}: damaged: {}", file_.path(), verdict.reason));
  }
  // A sealed file is never written to, but a foreign one may have changed during the read.
  if (state_ == State::foreign) check_identity(part.etag, identity_of(status_of(file_)));
  read.finish();
  return verdict.kind == PartVerdict::Kind::verified;
}

void ObjectFile::read_whole(PartRead& read, const ObjectPart& part, LearnedPieces& learned) const {
  std::vector<std::byte> whole(part.object_bytes);
  read_body(whole);
  if (auto pieces = PieceChecksums::of(whole); pieces.has_value()) {
    learned.learn(checksums_.whole, std::move(*pieces));
  }
  read.finish_from_whole(whole);
}

std::string write_object_file(const File& file, std::span<const std::byte> body) {
  const std::vector<std::byte> tail = tail_of(body);
  file.write_at(body, 0);
  file.write_at(tail, body.size());
  file.sync_data();
  const auto trailer = std::span(tail).last(kTrailer_bytes);
  return fmt::format("\"{}\"", to_hex(trailer.subspan(kChecksumAt, kChecksum_bytes)));
}

}  // namespace nbdstack
