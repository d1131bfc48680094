#include "common/crypto/sealing.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <memory>

#include "common/crypto/openssl_cipher.hpp"
#include "common/error.hpp"

namespace nbdstack {
namespace {

void require(int result) {
  if (result != 1) throw Error(ENOTSUP, "OpenSSL does not provide AES-256-GCM");
}

}  // namespace

void seal(const SecretKey& key, std::span<const std::byte> associated,
          std::span<const std::byte> text, std::span<std::byte> sealed) {
  assert(sealed.size() == text.size() + kSealing_bytes);
  const auto nonce = sealed.first(kNonce_bytes);
  const auto ciphertext = sealed.subspan(kNonce_bytes, text.size());
  const auto tag = sealed.last(kTag_bytes);
  fill_random(nonce);

  const CipherContext context(EVP_CIPHER_CTX_new());
  int length = 0;
  require(
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(key.bytes()), raw(nonce)));
  require(EVP_EncryptUpdate(context.get(), nullptr, &length, raw(associated),
                            static_cast<int>(associated.size())));
  require(EVP_EncryptUpdate(context.get(), raw(ciphertext), &length, raw(text),
                            static_cast<int>(text.size())));
  require(EVP_EncryptFinal_ex(context.get(), raw(tag), &length));  // writes nothing in this mode
  require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTag_bytes, tag.data()));
}

bool unseal(const SecretKey& key, std::span<const std::byte> associated,
            std::span<const std::byte> sealed, std::span<std::byte> text) {
  assert(sealed.size() == text.size() + kSealing_bytes);
  const auto nonce = sealed.first(kNonce_bytes);
  const auto ciphertext = sealed.subspan(kNonce_bytes, text.size());
  // OpenSSL takes the tag to compare with through a pointer to non-const data.
  std::array<std::byte, kTag_bytes> tag{};
  std::copy_n(sealed.last(kTag_bytes).begin(), tag.size(), tag.begin());

  const CipherContext context(EVP_CIPHER_CTX_new());
  int length = 0;
  require(
      EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(key.bytes()), raw(nonce)));
  require(EVP_DecryptUpdate(context.get(), nullptr, &length, raw(associated),
                            static_cast<int>(associated.size())));
  require(EVP_DecryptUpdate(context.get(), raw(text), &length, raw(ciphertext),
                            static_cast<int>(ciphertext.size())));
  require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTag_bytes, tag.data()));
  if (EVP_DecryptFinal_ex(context.get(), reinterpret_cast<unsigned char*>(tag.data()), &length) ==
      1)
    return true;
  ERR_clear_error();  // TLS on this thread must not take it for a failure of its own
  std::fill(text.begin(), text.end(), std::byte{0});  // it is not authentic, so not usable
  return false;
}

}  // namespace nbdstack
