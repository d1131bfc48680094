// The object that says which blocks of a volume have objects, as its last owner knew it when it
// gave its lease back:
//
//   KEY/nbdstack-blocks, without "KEY/" for a volume that has no key
//
//   a line of JSON     {"format":"nbdstack-blocks","version":1,
//                       "state":"recorded",          or "unowned", or "unowned-ended"
//                       "volume":"0f1e...",          the id in the volume's descriptor
//                       "owner":"a9b8...",           the lease's owner, or else 128 random bits
//                       "host":"vm-host-3",          these five of who writes without a lease, as
//                       "pid":4711,                  in lease_record.hpp; empty and 0 in a record
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
//   recorded        released, by this very owner      true: nobody has had the lease since, and what
//                                                     was not certain is said to be unknown
//   recorded        any other, or none                not believed: the volume was written since, or
//                                                     may have been
//   unowned         any                               not believed, and left as it is: somebody
//                                                     writes without a lease (own=none)
//   unowned-ended   any                               not believed
//
// It is written once an owner, after its last change of a block and before it gives the lease back,
// and once at each end of a server with own=none. Every writer replaces the object that it knows,
// and no other (block_memory.hpp). A volume of 2^20 blocks in a few runs takes some hundred bytes,
// one in which every other block is stored some ten thousand, the worst there can be some bits a
// block.
//
// Reading is strict. Who does not understand the object does not believe it, and asks the store.
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
