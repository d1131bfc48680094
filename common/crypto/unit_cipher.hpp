// Encrypts bytes of files in place: AES-256-XTS (IEEE 1619) in units of 4 KiB.
//
// The ciphertext is as long as the text and has its place: no room is needed for a nonce or a tag,
// and pages keep their alignment. A unit depends only on the key, on its file, and on its place in
// that file:
//
//   tweak = number of the unit (position / 4096, 8 bytes, little endian) | file (1 byte) | zeros
//
//   an attacker with the files                   learns
//   once                                         which units were ever written, not their content
//   again later, or with copies of them          which parts of 16 bytes of a unit have changed
//   and changes them                             nothing: but a changed part decrypts to other
//                                                bytes, and is NOT detected here; nor is an older
//                                                unit in its former place. A unit in another place
//                                                decrypts to noise
//
// So users of this keep checksums over the ciphertext, for damage: they reveal no more than it.
//
// Bytes that were never written, or were given back to the file system, are zeros without having
// been encrypted. So parts of 16 bytes that are zeros in the file are zeros in the text, too, even
// if a reader meets a unit half given back. (The ciphertext of other text is zeros with a chance of
// one in 2^128.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "common/crypto/openssl_cipher.hpp"
#include "common/crypto/secret_key.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

// Any thread may use it.
class UnitCipher {
 public:
  static constexpr std::size_t kUnit_bytes = 4096;

  // The place of bytes. The position is a multiple of a unit.
  struct Place {
    std::uint64_t position = 0;
    std::uint8_t file = 0;
  };

  // Throws Error(ENOTSUP) if OpenSSL has no AES-256-XTS.
  explicit UnitCipher(const SecretKey& key);

  // Encrypts whole units. The two may be the same bytes, and do not overlap otherwise.
  void encrypt(std::span<const std::byte> text, Place place, std::span<std::byte> sealed) const;
  // Decrypts in place.
  void decrypt(std::span<std::byte> bytes, Place place) const;

  [[nodiscard]] static constexpr std::uint64_t floor(std::uint64_t position) {
    return position / kUnit_bytes * kUnit_bytes;
  }
  [[nodiscard]] static constexpr std::uint64_t ceil(std::uint64_t position) {
    return floor(position + kUnit_bytes - 1);
  }
  // Fills `buffer` with the text at `offset`, which need not be whole units; calls read(units,
  // from) for whole ones.
  template <typename ReadUnits>
  static void read_any(std::span<std::byte> buffer, std::uint64_t offset, ReadUnits&& read) {
    const std::uint64_t begin = floor(offset);
    const std::uint64_t end = ceil(offset + buffer.size());
    if (end - begin == buffer.size()) return read(buffer, begin);
    std::vector<std::byte> units(end - begin);
    read(std::span(units), begin);
    std::memcpy(buffer.data(), &units[offset - begin], buffer.size());
  }

 private:
  // Contexts with the key already set: setting it costs as much as encrypting a unit.
  class Contexts {
   public:
    explicit Contexts(CipherContext first) : first_(std::move(first)) {}
    CipherContext take();
    void give_back(CipherContext context);

   private:
    const CipherContext first_;  // others are copied from this
    Mutex mutex_;
    std::vector<CipherContext> unused_ GUARDED_BY(mutex_);
    std::size_t made_ GUARDED_BY(mutex_) = 0;
  };
  class Borrowed;

  static CipherContext keyed(const SecretKey& key, bool encrypting);

  mutable Contexts encrypting_;
  mutable Contexts decrypting_;
};

}  // namespace nbdstack
