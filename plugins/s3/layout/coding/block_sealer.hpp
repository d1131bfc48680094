// Seals the blocks of a volume (common/crypto/sealing.hpp), each for its place.
//
// One key seals 2^32 texts safely. So each block has a key of its own,
//
//   block key = HMAC-SHA256(volume key, "nbdstack block key" | 0 | volume id | block number)
//
// (the number in 8 bytes, big endian), so the limit is 2^32 writes of one block rather than of the
// whole volume. The associated data are a header from the caller, the volume id and the block
// number. What this detects and what it cannot:
//
//   changed, cut off, extended             detected
//   another block's object in its place    detected
//   an object of another volume            detected, even under the same passphrase
//   an older version of the same block     NOT detected: it was sealed by the same key for the same
//                                          place, so a writer to the store can put it back. The md5
//                                          filter with a file of its own knows what was last
//                                          written, and detects it.
//   an object removed                      NOT detected: a block without an object is zeros. The
//                                          same filter detects it.
//
// The length of the sealed text stays visible: with compression, how well a block compresses.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "common/block/range.hpp"
#include "common/crypto/sealing.hpp"

namespace nbdstack {

// Immutable: may be used by any thread.
class BlockSealer {
 public:
  BlockSealer(SecretKey volume_key, std::string volume_id)
      : volume_key_(std::move(volume_key)), volume_id_(std::move(volume_id)) {}

  // See seal() and unseal().
  void seal(BlockNumber block, std::span<const std::byte> header, std::span<const std::byte> text,
            std::span<std::byte> sealed) const;
  [[nodiscard]] bool unseal(BlockNumber block, std::span<const std::byte> header,
                            std::span<const std::byte> sealed, std::span<std::byte> text) const;

 private:
  [[nodiscard]] SecretKey key_of(BlockNumber block) const;

  SecretKey volume_key_;
  std::string volume_id_;
};

}  // namespace nbdstack
