#include "plugins/s3/sealing.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <memory>
#include <vector>

#include "common/error.hpp"
#include "plugins/s3/big_endian.hpp"
#include "plugins/s3/openssl_cipher.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kBlockKeyLabel = "nbdstack block key";

void require(int result) {
  if (result != 1) throw Error(ENOTSUP, "OpenSSL does not provide AES-256-GCM");
}

// The volume id and the block number, which is what tells one block's place from all others.
std::vector<std::byte> place_of(BlockNumber block, const std::string& volume_id) {
  const auto id = std::as_bytes(std::span(volume_id));
  std::vector<std::byte> place(id.begin(), id.end());
  place.resize(place.size() + sizeof block.value);
  store_big_endian(block.value, std::span(place).last(sizeof block.value));
  return place;
}

std::vector<std::byte> associated_data(std::span<const std::byte> header, BlockNumber block,
                                       const std::string& volume_id) {
  std::vector<std::byte> data(header.begin(), header.end());
  const std::vector<std::byte> place = place_of(block, volume_id);
  data.insert(data.end(), place.begin(), place.end());
  return data;
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
  // OpenSSL takes the tag to compare with through a pointer to what is not const.
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
  std::fill(text.begin(), text.end(), std::byte{0});  // nobody may see what is not authentic
  return false;
}

void BlockSealer::seal(BlockNumber block, std::span<const std::byte> header,
                       std::span<const std::byte> text, std::span<std::byte> sealed) const {
  nbdstack::seal(key_of(block), associated_data(header, block, volume_id_), text, sealed);
}

bool BlockSealer::unseal(BlockNumber block, std::span<const std::byte> header,
                         std::span<const std::byte> sealed, std::span<std::byte> text) const {
  return nbdstack::unseal(key_of(block), associated_data(header, block, volume_id_), sealed, text);
}

SecretKey BlockSealer::key_of(BlockNumber block) const {
  SecretKey key;
  volume_key_.derive(kBlockKeyLabel, place_of(block, volume_id_), key.buffer());
  return key;
}

}  // namespace nbdstack
