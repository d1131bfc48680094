// The key of an encrypted volume, and the passphrase that opens it.
//
// A volume's blocks are sealed by its volume key, 256 random bits that never change. The key lies
// in the descriptor, wrapped (AES-256-GCM, sealing.hpp) by a second key, which scrypt (RFC 7914)
// derives from the passphrase and a random salt:
//
//   wrapping key = scrypt(passphrase, salt, n, r, p)
//   wrapped key  = seal(wrapping key, "nbdstack volume key" | 0 | volume id, volume key)
//
// So a new passphrase wraps the same key again, and no block is rewritten. That also means: whoever
// has an old descriptor and the old passphrase has the volume key. A passphrase that has leaked is
// answered by a new volume, not by a new passphrase alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "plugins/s3/sealing.hpp"
#include "plugins/s3/secret_key.hpp"

namespace nbdstack {

// What scrypt costs: 128 n r bytes of memory, and time in proportion to n r p. The default takes
// 128 MiB and up to a second or so, once at start.
struct ScryptCost {
  std::uint64_t n = std::uint64_t{1} << 17U;  // a power of two, from 2
  std::uint32_t r = 8;
  std::uint32_t p = 1;

  friend bool operator==(const ScryptCost&, const ScryptCost&) = default;
};

// A descriptor is somebody else's until its passphrase has opened it: one that asks for more than
// this is refused rather than obeyed.
inline constexpr std::uint64_t kScryptMemory_bytes_max = std::uint64_t{1} << 30U;
// Of n r p: sixteen times the default.
inline constexpr std::uint64_t kScryptWork_max = std::uint64_t{1} << 24U;

// What is wrong with a cost; nothing where it can be paid.
[[nodiscard]] std::optional<std::string> fault_of(const ScryptCost& cost);

struct WrappedKey {
  static constexpr std::size_t kSalt_bytes = 32;
  static constexpr std::size_t kSealed_bytes = SecretKey::kBytes + kSealing_bytes;

  ScryptCost cost;
  std::array<std::byte, kSalt_bytes> salt{};
  std::array<std::byte, kSealed_bytes> sealed{};
};

// With a new salt. Throws Error: EINVAL for an empty passphrase or a cost with a fault, ENOMEM
// where there is no memory for scrypt.
[[nodiscard]] WrappedKey wrap_key(const SecretKey& volume_key, std::string_view passphrase,
                                  const std::string& volume_id, const ScryptCost& cost);

// Nothing: that is not the passphrase (or the wrapped key was changed, which looks the same).
// Throws as wrap_key() does.
[[nodiscard]] std::optional<SecretKey> unwrap_key(const WrappedKey& wrapped,
                                                  std::string_view passphrase,
                                                  const std::string& volume_id);

}  // namespace nbdstack
