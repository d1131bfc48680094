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
//                       "blocks":1048576,            the number of the volume's blocks
//                       "bytes":1234}                length of the runs before compression
//   a zstd frame       the runs, from block 0 on without a gap. Each is the number
//                      4 * length + kind in base 128, low digits first. The kinds are 0 for unknown
//                      blocks, 1 for blocks without and 2 for blocks with objects
//   16 bytes           XXH3-128 of all bytes before
//
// A reader's conclusions:
//
//   state           the lease's last record           the runs are
//   recorded        released, by this very owner      true: no server has had the lease since
//   recorded        any other, or none                not believed: there may have been writes
//   unowned         any                               not believed, and the record is kept: a
//                                                     server writes without a lease (own=none)
//   unowned-ended   any                               not believed
//
// An owner writes it once, after its last change of a block and before it releases the lease; a
// server with own=none writes it at its start and at its end. Every writer replaces only the object
// that it knows (block_memory.hpp). A volume of 2^20 blocks in a few runs takes about a hundred
// bytes, one with every other block stored about ten thousand; the worst case is a few bits a
// block.
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

// Runs that are longer than this before compression are not recorded. 2^25 blocks in the worst
// order have half as many bytes.
inline constexpr std::size_t kRuns_bytes_max = std::size_t{64} << 20U;

// Returns the size of the longest object that a volume of so many blocks can have.
std::size_t block_record_bytes_max(std::uint64_t block_count);

struct BlockRecord {
  enum class State : std::uint8_t { recorded, unowned, unowned_ended };

  State state = State::recorded;
  std::string volume_id;
  std::string owner;
  ProcessIdentity process{};
  std::uint64_t block_count = 0;
  KnownBlocks blocks{};

  // Returns nothing if there are too many runs.
  [[nodiscard]] std::optional<std::vector<std::byte>> to_bytes() const;

  // Throws Error(EINVAL) that names the object and its fault.
  static BlockRecord parse(std::span<const std::byte> bytes, const std::string& object_name);
};

std::string block_record_key(const std::string& volume_key);

}  // namespace nbdstack
