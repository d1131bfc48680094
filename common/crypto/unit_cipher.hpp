// Bytes of files, encrypted in place: AES-256-XTS (IEEE 1619) in units of 4 KiB.
//
// The ciphertext is as long as the text and lies where the text would: no room is needed for a nonce
// or a tag, and pages keep their alignment. A unit depends on the key, on its file, and on its place
// in that file, and on nothing else:
//
//   tweak = number of the unit (position / 4096, 8 bytes, little endian) | file (1 byte) | zeros
//
//   whoever sees the files                       learns
//   once                                         which units were ever written, and not their content
//   again later, or copies of them               which parts of 16 bytes of a unit have changed
//   and changes them                             nothing: but a part that is changed decrypts to other
//                                                bytes, and is NOT noticed here; nor is an older
//                                                unit in its former place. A unit in another place
//                                                decrypts to noise
//
// So whoever uses this keeps checksums, for damage, over the ciphertext: they say no more than it.
//
// What was never written, or was given back to the file system, is zeros without having been
// encrypted. Parts of 16 bytes that are zeros in the file therefore are zeros in the text, too, also
// for a reader who sees a unit half given back. (The ciphertext of other text is that by chance once
// in 2^128.)
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

// May be used by any thread.
class UnitCipher {
 public:
  static constexpr std::size_t kUnit_bytes = 4096;

  // Where bytes lie. The position is a multiple of a unit.
  struct Place {
    std::uint64_t position = 0;
    std::uint8_t file = 0;
  };

  // Throws Error(ENOTSUP) where OpenSSL has no AES-256-XTS.
  explicit UnitCipher(const SecretKey& key);

  // Whole units. The two may be the same bytes, and do not overlap otherwise.
  void encrypt(std::span<const std::byte> text, Place place, std::span<std::byte> sealed) const;
  // In place.
  void decrypt(std::span<std::byte> bytes, Place place) const;

  [[nodiscard]] static constexpr std::uint64_t floor(std::uint64_t position) {
    return position / kUnit_bytes * kUnit_bytes;
  }
  [[nodiscard]] static constexpr std::uint64_t ceil(std::uint64_t position) {
    return floor(position + kUnit_bytes - 1);
  }
  // Fills `buffer` with the text at `offset`, which need not be whole units: read(units, from) has to
  // read such.
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
  // Contexts that have the key already: to set it costs as much as to encrypt a unit.
  class Contexts {
   public:
    explicit Contexts(CipherContext first) : first_(std::move(first)) {}
    CipherContext take();
    void give_back(CipherContext context);

   private:
    const CipherContext first_;  // the one that others are copied from
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
