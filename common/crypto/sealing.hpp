// Authenticated encryption: AES-256-GCM (NIST SP 800-38D).
//
//   sealed text = nonce (12 bytes, random) | ciphertext (as long as the text) | tag (16 bytes)
//
// A sealed text is opened only with the same key and the same associated data; a changed bit
// anywhere is detected. GCM is broken if a nonce is used twice under one key. Random nonces are
// safe for 2^32 texts, so a key may seal that many.
#pragma once

#include <cstddef>
#include <span>

#include "common/crypto/secret_key.hpp"

namespace nbdstack {

inline constexpr std::size_t kNonce_bytes = 12;
inline constexpr std::size_t kTag_bytes = 16;
// The length of a sealed text beyond its text's.
inline constexpr std::size_t kSealing_bytes = kNonce_bytes + kTag_bytes;

// `sealed` is kSealing_bytes longer than `text` and does not overlap it. Throws Error: ENOTSUP if
// OpenSSL has no AES-256-GCM, EIO without randomness.
void seal(const SecretKey& key, std::span<const std::byte> associated,
          std::span<const std::byte> text, std::span<std::byte> sealed);

// Returns false, with zeros in `text`, if this was not sealed by this key with these data. `text`
// is kSealing_bytes shorter than `sealed`, which must be at least that long.
[[nodiscard]] bool unseal(const SecretKey& key, std::span<const std::byte> associated,
                          std::span<const std::byte> sealed, std::span<std::byte> text);

}  // namespace nbdstack
