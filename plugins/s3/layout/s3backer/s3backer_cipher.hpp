// The encryption of s3backer's blocks, exactly as s3backer does it:
//
//   L     = the cipher's key length, or --keyLength, which may be longer
//   key   = PBKDF2-HMAC-SHA1(password, salt "bucket/PREFIX", 5000 rounds, L bytes)
//   ivkey = PBKDF2-HMAC-SHA1(key, salt key, 5000 rounds, L bytes)
//   IV(b) = the cipher's first block over "%08x"(b), zero-padded to a block, under ivkey, with the
//           first bytes of ivkey as IV
//   body  = the cipher in CBC mode under key and IV(b), with PKCS#7 padding
//   hmac  = HMAC-SHA1(key, "%08x"(b) + the cipher's name + body)
//
// Bytes of L beyond the cipher's own length are used only by the HMAC and the derivation of ivkey.
//
// This is for existing volumes: the IV of a block never changes, 5000 rounds are few, and nothing
// detects that an old version of a block is put back. A new volume is better served by our own
// layout.
//
// Ciphers are OpenSSL's in CBC mode. Objects name a cipher by its canonical name ("AES-128-CBC");
// every alias that OpenSSL knows, in either case, is understood. The ciphers of OpenSSL 3's legacy
// provider (BF, CAST5, DES, DESX, IDEA, RC2, SEED) work only if the system's openssl.cnf activates
// that provider; the error says so.
//
// Immutable: any thread may use it. Keys are wiped when the object is destroyed.
#pragma once

#include <openssl/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/block/range.hpp"

namespace nbdstack {

struct S3backerCipherSettings {
  std::string cipher;    // the name or an alias of it
  std::string password;  // not empty; s3backer uses the first line of a password file
  std::string bucket;    // without the part after a slash
  std::string prefix;    // as in S3backerNames
  std::optional<std::size_t> key_bytes;  // s3backer's --keyLength
};

class S3backerCipher {
 public:
  using Hmac = std::array<std::byte, 20>;

  // Derives the keys, which takes some milliseconds. Throws Error(EINVAL) for a cipher that is
  // unknown, not available or not CBC, for a key length out of range, and for an empty password.
  explicit S3backerCipher(const S3backerCipherSettings& settings);
  S3backerCipher(const S3backerCipher&) = delete;
  S3backerCipher& operator=(const S3backerCipher&) = delete;
  ~S3backerCipher();

  // Returns the canonical name.
  [[nodiscard]] const std::string& name() const { return name_; }
  // Returns whether `name` is this cipher's name, or an alias of it.
  [[nodiscard]] bool is_called(std::string_view name) const;

  // A body is longer than its text by at most this.
  static constexpr std::size_t kPadding_bytes_max = 16;

  [[nodiscard]] std::vector<std::byte> encrypt(BlockNumber block,
                                               std::span<const std::byte> text) const;
  // Throws Error(EIO) with the reason if the body is not a whole number of the cipher's blocks or
  // its padding is wrong.
  [[nodiscard]] std::vector<std::byte> decrypt(BlockNumber block,
                                               std::span<const std::byte> body) const;

  [[nodiscard]] Hmac hmac(BlockNumber block, std::span<const std::byte> body) const;
  // Compares in constant time.
  [[nodiscard]] bool is_authentic(BlockNumber block, std::span<const std::byte> body,
                                  const Hmac& hmac) const;

 private:
  struct FreeCipher {
    void operator()(EVP_CIPHER* cipher) const;
  };
  struct FreeMac {
    void operator()(EVP_MAC_CTX* context) const;
  };

  void choose_cipher(const std::string& name);
  void derive_keys(const S3backerCipherSettings& settings);
  void prepare_mac();
  [[nodiscard]] std::array<unsigned char, 16> iv_of(BlockNumber block,
                                                    EVP_CIPHER_CTX* context) const;
  [[nodiscard]] std::vector<std::byte> run(BlockNumber block, std::span<const std::byte> input,
                                           bool encrypting) const;

  std::string name_;
  int nid_ = 0;  // OpenSSL's number of the cipher, which all its names share
  std::unique_ptr<EVP_CIPHER, FreeCipher> cipher_;
  std::size_t block_bytes_ = 0;
  std::vector<unsigned char> key_;
  std::vector<unsigned char> iv_key_;
  std::unique_ptr<EVP_MAC_CTX, FreeMac> mac_;  // keyed; each use copies it
};

}  // namespace nbdstack
