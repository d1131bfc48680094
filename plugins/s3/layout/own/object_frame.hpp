// The frame of an object that is not simply its block. It records how the block is coded, in the
// body rather than in metadata, so that it survives being copied from store to store, and works in
// a directory as well.
//
//   offset  bytes
//        0      6   "NBDOBJ"
//        6      1   version: 1
//        7      1   length of this header: 16
//        8      1   compression: 0 none, 1 deflate (a zlib stream), 2 zstd
//        9      1   cipher: 0 none, 1 AES-256-GCM
//       10      2   0
//       12      4   length of the block in bytes, big endian
//       16          cipher 0: the compressed block, then 16 bytes: XXH3-128 of all before it
//                   cipher 1: nonce (12), ciphertext of the compressed block, tag (16), as in
//                             block_sealer.hpp; the tag covers this header, too
//
// Reading is strict: an object that differs from the above was written by a program whose format
// this one does not know.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "plugins/s3/layout/coding/compression.hpp"

namespace nbdstack {

enum class Cipher : std::uint8_t { none, aes_256_gcm };

inline constexpr std::size_t kFrameHeader_bytes = 16;
inline constexpr std::size_t kFrameChecksum_bytes = 16;

struct FrameHeader {
  Compression compression = Compression::none;
  Cipher cipher = Cipher::none;
  std::uint32_t block_bytes = 0;

  [[nodiscard]] std::array<std::byte, kFrameHeader_bytes> to_bytes() const;

  // Parses a frame for which is_frame() holds. Throws Error(EIO) with the reason, to which the
  // caller adds the object's name.
  static FrameHeader parse(std::span<const std::byte> frame);

  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

// Returns whether `object` begins as a frame does, whatever its version.
[[nodiscard]] bool is_frame(std::span<const std::byte> body);

}  // namespace nbdstack
