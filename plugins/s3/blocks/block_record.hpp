// The object that records which blocks of a volume have objects, written by its last owner:
//
//   KEY/nbdstack-blocks, without "KEY/" for a volume that has no key
//
//   a line of JSON     {"format":"nbdstack-blocks","version":1,
//                       "state":"recorded",          or "unowned", or "unowned-ended"
//                       "volume":"0f1e...",          the id in the volume's descriptor
//                       "owner":"a9b8...",           the lease's owner, or else 128 random bits
//                       "host":"vm-host-3",          these five of a server without lease, as in
//                       "pid":4711,                  lease_record.hpp; empty and 0 in a record
//                       "start-time":123456,
//                       "boot-id":"...",
//                       "pid-namespace":"...",
//                       "blocks":1048576,            how many the volume has
//                       "bytes":1234}                how long the runs are before compression
//   a zstd frame       the runs, from block 0 on without a gap: each a number in base 128, low
//                      digits first, that is 4 * length + kind; kind 0: not known, 1: no objects,
//                      2: objects
//   16 bytes           XXH3-128 of all that comes before
//
// What a reader may conclude from it:
//
//   state           the lease's last record           is
//   recorded        released, by this very owner      true: no server has had the lease since
//   recorded        any other, or none                not believed: there may have been writes
//   unowned         any                               not believed, and kept: a server writes
//                                                     without a lease (own=none)
//   unowned-ended   any                               not believed
//
// An owner writes it once, after its last change of a block and before it releases the lease; a
// server with own=none at its start and at its end. Every writer replaces only the object that it
// knows (block_memory.hpp). A volume of 2^20 blocks in a few runs takes some hundred bytes, one
// with every other block stored some ten thousand; the worst case is some bits a block.
//
// Reading is strict: a reader that does not understand the object queries the store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plugins/s3/blocks/known_blocks.hpp"
#include "plugins/s3/lease/process_identity.hpp"

namespace nbdstack {

// What is longer before compression is not recorded: 2^25 blocks in the worst order have half.
inline constexpr std::size_t kRuns_bytes_max = std::size_t{64} << 20U;

// The longest object that a volume of so many blocks can have.
std::size_t block_record_bytes_max(std::uint64_t block_count);

struct BlockRecord {
  enum class State : std::uint8_t { recorded, unowned, unowned_ended };

  State state = State::recorded;
  std::string volume_id;
  std::string owner;
  ProcessIdentity process{};
  std::uint64_t block_count = 0;
  KnownBlocks blocks{};

  // Nothing: there are too many runs.
  [[nodiscard]] std::optional<std::vector<std::byte>> to_bytes() const;

  // Throws Error(EINVAL) that names the object and what is wrong with it.
  static BlockRecord parse(std::span<const std::byte> bytes, const std::string& object_name);
};

std::string block_record_key(const std::string& volume_key);

}  // namespace nbdstack
