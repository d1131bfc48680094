// The small object that describes a volume, so that its bucket and key suffice to open it:
//
//   {
//     "format": "nbdstack-volume",
//     "version": 1,
//     "size": 10737418240,                        bytes
//     "object-size": 1048576,                     bytes, a power of two from 4K to 32M
//     "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",   128 random bits
//     "encryption": {                             version 2 only, and only of an encrypted volume:
//       "cipher": "aes-256-gcm",                  of the blocks (block_sealer.hpp)
//       "kdf": "scrypt",                          from the passphrase to the wrapping key,
//       "n": 131072, "r": 8, "p": 1,              at this cost
//       "salt": "...",                            and with this salt: 32 bytes, hex
//       "wrapped-key": "...",                     60 bytes, hex
//       "mac": "..."                              32 bytes, hex
//     }
//   }
//
//   version   objects of the volume
//   1         plain blocks only: any part of one can be read, and programs that know no more than
//             nbdkit's own S3 plugin can read all of them
//   2         may be frames (object_frame.hpp), and must be if there is "encryption"
//
// A volume is created with version 1, or with version 2 if it is encrypted. The first opening that
// compresses changes 1 to 2 (allow_frames()) by a conditional PUT, before it writes a frame;
// nothing changes 2 back to 1. A program that knows only version 1 then refuses the volume, as it
// must. A program that has the volume open meanwhile has read version 1, and will find objects of
// the wrong length.
//
// A volume's blocks are sealed by its volume key, which is wrapped (common/crypto/wrapped_key.hpp)
// for the purpose "nbdstack volume key" | 0 | id.
//
// mac = HMAC-SHA256(volume key, "nbdstack descriptor" | 0 | size (8 bytes) | object-size (4) | id),
// the numbers big endian: a change of the geometry without the key is detected. An older descriptor
// of the same volume is NOT detected: it restores the former size and the former passphrase. Nor
// can the bucket show that an encrypted volume's descriptor was replaced with one that is "not
// encrypted". So a request with a passphrase refuses an unencrypted volume (unlock() does).
//
// The id distinguishes a volume from the next one under the same key. The object is created by a
// create-only PUT, before any block: blocks without a descriptor are a volume of another program.
// Reading is strict: a field that is missing, unknown, or of a wrong type or range means that this
// program does not understand the volume, and must not touch it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/crypto/wrapped_key.hpp"

namespace nbdstack {

inline constexpr std::string_view kOwnCipher = "aes-256-gcm";  // of encrypted volumes
inline constexpr std::uint32_t kObjectSize_bytes_min = 4096;
inline constexpr std::uint32_t kObjectSize_bytes_max = 32 * 1024 * 1024;

struct VolumeEncryption {
  WrappedKey wrapped_key;
  std::array<std::byte, 32> mac{};
};

struct VolumeDescriptor {
  std::uint64_t size_bytes = 0;
  std::uint32_t object_size = 0;
  std::string id;
  bool framed = false;  // objects may be frames; always true with encryption
  std::optional<VolumeEncryption> encryption;

  // Makes one with a new random id, not encrypted and not framed.
  static VolumeDescriptor make(std::uint64_t size_bytes, std::uint32_t object_size);

  // Throws Error(EINVAL) that names the object and the fault in it.
  static VolumeDescriptor parse(const std::string& text, const std::string& object_name);

  [[nodiscard]] std::string to_json() const;

  // Called before frames are written. Returns whether the changed descriptor must be stored first.
  [[nodiscard]] bool allow_frames();

  // Encrypts a volume that does not exist yet, and returns its new key. Throws as wrap_key() does.
  [[nodiscard]] SecretKey encrypt(std::string_view passphrase, const ScryptCost& cost = {});

  // Returns the key of an encrypted volume. Throws Error: EACCES for a wrong passphrase; EINVAL if
  // the volume is not encrypted, if its geometry was changed without the key, or for an empty
  // passphrase; ENOMEM. `object_name` is that of the descriptor, for messages.
  [[nodiscard]] SecretKey unlock(std::string_view passphrase, const std::string& object_name) const;

  // After either change the descriptor must be stored in place of the very one that was read. An
  // encrypted volume's change needs its key: Error(EINVAL) for another key, or none.
  void resize(std::uint64_t new_size_bytes, const std::optional<SecretKey>& volume_key);
  // Keeps the key, and so every block. Throws as wrap_key() does, too.
  void change_passphrase(const SecretKey& volume_key, std::string_view new_passphrase,
                         const ScryptCost& cost = {});

 private:
  [[nodiscard]] std::array<std::byte, 32> mac_by(const SecretKey& volume_key) const;
  [[nodiscard]] bool is_key(const SecretKey& volume_key) const;
};

}  // namespace nbdstack
