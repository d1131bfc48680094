// A key under a passphrase.
//
// Data that stays encrypted for long is encrypted by a key of 256 random bits that never changes.
// That key is stored wrapped (AES-256-GCM, sealing.hpp) by a second key, which scrypt (RFC 7914)
// derives from the passphrase and a random salt:
//
//   wrapping key = scrypt(passphrase, salt, n, r, p)
//   wrapped key  = seal(wrapping key, purpose, key)
//
// The purpose, which is not secret, is what the key is for: the key opens for nothing else. A new
// passphrase wraps the same key again, and no encrypted data is rewritten. So an old wrapped key
// with the old passphrase still opens the key: a leaked passphrase requires a new key, not only a
// new passphrase.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/crypto/sealing.hpp"
#include "common/crypto/secret_key.hpp"

namespace nbdstack {

// The cost of scrypt: 128 n r bytes of memory, and time in proportion to n r p. The default takes
// 128 MiB and up to a second or so, once at start.
struct ScryptCost {
  std::uint64_t n = std::uint64_t{1} << 17U;  // a power of two, from 2
  std::uint32_t r = 8;
  std::uint32_t p = 1;

  friend bool operator==(const ScryptCost&, const ScryptCost&) = default;
};

// A stored cost is not trusted until the passphrase has opened the key: one above this is refused
// rather than obeyed.
inline constexpr std::uint64_t kScryptMemory_bytes_max = std::uint64_t{1} << 30U;
// The bound of n r p: sixteen times the default.
inline constexpr std::uint64_t kScryptWork_max = std::uint64_t{1} << 24U;

// Returns the fault of a cost, or nothing if it is acceptable.
[[nodiscard]] std::optional<std::string> fault_of(const ScryptCost& cost);

struct WrappedKey {
  static constexpr std::size_t kSalt_bytes = 32;
  static constexpr std::size_t kSealed_bytes = SecretKey::kBytes + kSealing_bytes;

  ScryptCost cost;
  std::array<std::byte, kSalt_bytes> salt{};
  std::array<std::byte, kSealed_bytes> sealed{};

  friend bool operator==(const WrappedKey&, const WrappedKey&) = default;
};

// Wraps with a new salt. Throws Error: EINVAL for an empty passphrase or a cost with a fault,
// ENOMEM if there is no memory for scrypt.
[[nodiscard]] WrappedKey wrap_key(const SecretKey& key, std::string_view passphrase,
                                  std::string_view purpose, const ScryptCost& cost);

// Returns nothing if the passphrase is wrong (or the wrapped key was changed, which looks the
// same). Throws as wrap_key() does.
[[nodiscard]] std::optional<SecretKey> unwrap_key(const WrappedKey& wrapped,
                                                  std::string_view passphrase,
                                                  std::string_view purpose);

}  // namespace nbdstack
