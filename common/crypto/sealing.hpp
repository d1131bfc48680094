// Authenticated encryption: AES-256-GCM (NIST SP 800-38D).
//
//   sealed text = nonce (12 bytes, random) | ciphertext (as long as the text) | tag (16 bytes)
//
// A text that was sealed is opened only by the same key and beside the same associated data; a bit
// changed anywhere is noticed. GCM breaks when a nonce is used twice under one key, and random
// nonces are safe for 2^32 texts: that many a key may seal.
#pragma once

#include <cstddef>
#include <span>

#include "common/crypto/secret_key.hpp"

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

}  // namespace nbdstack
