// One block's record in an md5-file: 64 bytes, in the machine's byte order.
//
//   bytes 0-15   MD5 of the block's content
//   bytes 16-31  MD5 of its former content: identifies an old copy that returns
//   bytes 32-39  when it was written, seconds since 1970
//   bytes 40-43  length of the content; the last block of a disk may be short
//   bytes 44-47  length of the former content, 0 if that is not known
//   byte  48     state
//   bytes 49-51  0
//   bytes 52-55  generation (md5_file_identity.hpp): doubtful if earlier than the file's
//   bytes 56-63  checksum of the bytes before, seeded with the file's identity and the block's
//                number: a record in another place, or in another file, is none
//
//   state      bytes                 means
//   unknown    all 64 are 0          nothing is known of the block
//   written    1                     the block holds this, or is damaged
//   doubtful   2                     the block may hold this: a server ended while it, or a
//                                    neighbour, was being changed (open_regions.hpp)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "common/block/range.hpp"
#include "common/hash/digest.hpp"

namespace nbdstack {

// The length is part of it: the last block of a disk may be short, and is longer after the disk has
// grown. Contents of different lengths cannot be compared.
struct Content {
  Md5Digest digest{};
  std::uint32_t length = 0;

  friend bool operator==(const Content&, const Content&) = default;
};

struct Md5FileRecord {
  Content content;
  std::optional<Content> previous;
  std::int64_t written_at_s = 0;
  bool doubtful = false;

  friend bool operator==(const Md5FileRecord&, const Md5FileRecord&) = default;
};

constexpr std::size_t kRecord_bytes = 64;
using RecordBytes = std::span<std::byte, kRecord_bytes>;

void encode_record(const std::optional<Md5FileRecord>& record, BlockNumber block,
                   std::uint64_t seed, RecordBytes bytes, std::uint32_t generation = 0);

struct DecodedRecord {
  std::optional<Md5FileRecord> record;
  bool damaged = false;  // neither a record of this block nor an empty one
};
// `generation` is the file's.
DecodedRecord decode_record(std::span<const std::byte, kRecord_bytes> bytes, BlockNumber block,
                            std::uint64_t seed, std::uint32_t generation = 0);

}  // namespace nbdstack
