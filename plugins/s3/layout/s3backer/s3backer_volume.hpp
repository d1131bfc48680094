// An s3backer volume as a whole: its geometry, and the token that marks it as in use.
//
// Geometry. It is recorded only with block 0, as metadata at every PUT of it. Traps:
//
//   block 0 is all zeros         it does not exist, and nothing is recorded
//   version 1.6.0 wrote it       the size recorded is the size modulo 2^32
//   the volume was resized       the old size is recorded until block 0 is written again
//
//   recorded        blocks stored    given           the volume
//   size            below it         nothing, same   as recorded
//   size            below it         another size    EINVAL, unless it is the recorded one plus a
//                                                    multiple of 2^32, or forced
//   size            behind it        nothing         EINVAL: requires the size
//   0, none         any              nothing         EINVAL: requires the size
//   0, none, wrong  below the given  size            as given
//   any             behind the given size            EINVAL
//   block size      any              another one     EINVAL
//   no block size   none             no block size   4096, s3backer's default
//   no block size   some             no block size   EINVAL: requires it
//
// The mount token is an object that s3backer puts when it mounts a volume and removes after
// everything is written: if it exists, the volume is in use, or was left behind by a crash. Its
// value, 1 ... 7ffffffe, identifies the mount; 7fffffff is one of many that share the volume.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/block/range.hpp"
#include "common/wall_time.hpp"
#include "plugins/s3/layout/s3backer/s3backer_names.hpp"
#include "plugins/s3/store/object_attributes.hpp"

namespace nbdstack {

inline constexpr std::uint32_t kS3backerBlock_bytes_default = 4096;
inline constexpr std::uint32_t kS3backerBlock_bytes_min = 512;
inline constexpr std::uint32_t kS3backerBlock_bytes_max = 1024 * 1024 * 1024;
// s3backer counts blocks in 32 bits.
inline constexpr std::uint64_t kS3backerBlocks_max = 0xffffffff;

// The content of the bucket.
struct S3backerFindings {
  std::optional<ObjectInfo> block_0;
  // The last block in a listing, or nothing if there are no blocks. With ordered names two short
  // listings are enough: this is any block from the smaller of the recorded and the given end on,
  // or else the first block of all.
  std::optional<BlockNumber> last_block;
};

// The user's settings.
struct S3backerRequest {
  std::optional<std::uint64_t> size_bytes;
  std::optional<std::uint32_t> block_size;
  bool force_size = false;  // the given size wins over the recorded one; like s3backer's --force
};

// The record of block 0, without a number that is missing, 0 or unreadable.
struct S3backerRecord {
  std::optional<std::uint64_t> size_bytes;
  std::optional<std::uint64_t> block_size;

  static S3backerRecord parse(const ObjectAttributes& block_0);
};

// `place` names the bucket and prefix, for messages. Throws Error(EINVAL) if the table requires it,
// for a size that is 0, not a multiple of the block size, or more than 2^32 - 1 blocks, and for a
// block size that is not a power of two in the bounds above.
BlockGeometry s3backer_geometry(const S3backerFindings& found, const S3backerRequest& request,
                                const S3backerNames& names, std::string_view place);

inline constexpr std::uint32_t kS3backerToken_shared = 0x7fffffff;

// Far more than a token's text: a longer object is not a token.
inline constexpr std::size_t kS3backerToken_bytes_max = 4096;

// A mount token as its object.
struct S3backerToken {
  std::uint32_t value = 0;
  std::string body;  // host and time, a line each
  ObjectAttributes attributes;

  // Makes one with a random value 1 ... 7ffffffe.
  static S3backerToken make(std::string_view host, WallTime time);
};

// Returns what distinguishes a token from all others, from the attributes of its object.
std::string s3backer_token_identity(const ObjectAttributes& token);

// Returns the value of an existing token; one without, as old versions wrote it, counts as 1.
std::uint32_t parse_s3backer_token(const ObjectAttributes& attributes);

// Returns "HOST, 20260102T030405Z" from a token's text, for the message that refuses to mount,
// without characters that cannot be printed.
std::string describe_s3backer_token(std::string_view body);

}  // namespace nbdstack
