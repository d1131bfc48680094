#include "common/crypto/secret_key.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <limits>
#include <vector>

#include "common/error.hpp"

namespace nbdstack {

void fill_random(std::span<std::byte> place) {
  if (place.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()) ||
      RAND_priv_bytes(reinterpret_cast<unsigned char*>(place.data()),
                      static_cast<int>(place.size())) != 1) {
    throw Error(EIO, "OpenSSL has no random numbers: is /dev/urandom there?");
  }
}

SecretKey::SecretKey(SecretKey&& other) noexcept : bytes_(other.bytes_) {
  other.wipe();
}

SecretKey& SecretKey::operator=(SecretKey&& other) noexcept {
  if (this != &other) {
    bytes_ = other.bytes_;
    other.wipe();
  }
  return *this;
}

SecretKey::~SecretKey() {
  wipe();
}

SecretKey SecretKey::random() {
  SecretKey key;
  fill_random(key.bytes_);
  return key;
}

void SecretKey::derive(std::string_view label, std::span<const std::byte> context,
                       std::span<std::byte, kBytes> derived) const {
  std::vector<std::byte> text;
  text.reserve(label.size() + 1 + context.size());
  const auto labelled = std::as_bytes(std::span(label));
  text.insert(text.end(), labelled.begin(), labelled.end());
  text.push_back(std::byte{0});
  text.insert(text.end(), context.begin(), context.end());

  unsigned length = 0;
  if (HMAC(EVP_sha256(), bytes_.data(), static_cast<int>(bytes_.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(),
           reinterpret_cast<unsigned char*>(derived.data()), &length) == nullptr ||
      length != derived.size()) {
    throw Error(ENOTSUP, "OpenSSL does not provide HMAC-SHA256");
  }
}

void SecretKey::wipe() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

}  // namespace nbdstack
