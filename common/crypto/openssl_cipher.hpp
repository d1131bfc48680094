// Adapts OpenSSL's ciphers to C++: contexts that free themselves, and bytes of OpenSSL's type.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <memory>
#include <span>

namespace nbdstack {

struct FreeCipherContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeCipherContext>;

inline const unsigned char* raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

inline unsigned char* raw(std::span<std::byte> bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

}  // namespace nbdstack
