// Authenticated encryption: AES-256-GCM (NIST SP 800-38D), and the blocks of a volume under it.
//
//   sealed text = nonce (12 bytes, random) | ciphertext (as long as the text) | tag (16 bytes)
//
// A text that was sealed is opened only by the same key and beside the same associated data; a bit
// changed anywhere is noticed.
//
// Blocks. GCM breaks when a nonce is used twice under one key, and random nonces are safe for 2^32
// texts. So each block has a key of its own,
//
//   block key = HMAC-SHA256(volume key, "nbdstack block key" | 0 | volume id | block number)
//
// (the number in 8 bytes, big endian), which makes that 2^32 writes of one block rather than of the
// whole volume. The associated data are a header that the caller gives, the volume id and the block
// number. What this notices and what it cannot:
//
//   changed, cut off, extended             noticed
//   another block's object in its place    noticed
//   an object of another volume            noticed, also under the same passphrase
//   an older version of the same block     NOT noticed: it was sealed by the same key for the same
//                                          place. Whoever can write to the store can bring a block
//                                          back to what it was. The md5 filter with a file of its
//                                          own remembers what was last written, and notices.
//   an object removed                      NOT noticed: a block without an object is zeros. The
//                                          same filter notices.
//
// The length of what is sealed stays visible: with compression, how well a block compresses.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "common/block/range.hpp"
#include "plugins/s3/secret_key.hpp"

namespace nbdstack {

inline constexpr std::size_t kNonce_bytes = 12;
inline constexpr std::size_t kTag_bytes = 16;
// How much longer than the text a sealed text is.
inline constexpr std::size_t kSealing_bytes = kNonce_bytes + kTag_bytes;

// `sealed` is kSealing_bytes longer than `text` and does not overlap it. Throws Error: ENOTSUP
// where OpenSSL has no AES-256-GCM, EIO without randomness.
void seal(const SecretKey& key, std::span<const std::byte> associated,
          std::span<const std::byte> text, std::span<std::byte> sealed);

// False: this was not sealed by this key beside these data, and `text` holds zeros. `text` is
// kSealing_bytes shorter than `sealed`, which must be at least that long.
[[nodiscard]] bool unseal(const SecretKey& key, std::span<const std::byte> associated,
                          std::span<const std::byte> sealed, std::span<std::byte> text);

// Immutable: may be used by any thread.
class BlockSealer {
 public:
  BlockSealer(SecretKey volume_key, std::string volume_id)
      : volume_key_(std::move(volume_key)), volume_id_(std::move(volume_id)) {}

  // As the functions above.
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
