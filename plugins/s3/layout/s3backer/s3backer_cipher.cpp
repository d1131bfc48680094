#include "plugins/s3/layout/s3backer/s3backer_cipher.hpp"

#include <fmt/core.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/params.h>

#include <algorithm>
#include <limits>
#include <new>

#include "common/crypto/openssl_cipher.hpp"
#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr int kRounds = 5000;

struct FreeMacMethod {
  void operator()(EVP_MAC* method) const { EVP_MAC_free(method); }
};

void require(bool done, std::string_view what) {
  if (!done) throw Error(EIO, fmt::format("OpenSSL fails at {}", what));
}

std::vector<unsigned char> stretched(std::string_view password, std::span<const unsigned char> salt,
                                     std::size_t length) {
  std::vector<unsigned char> key(length);
  require(PKCS5_PBKDF2_HMAC_SHA1(password.data(), static_cast<int>(password.size()), salt.data(),
                                 static_cast<int>(salt.size()), kRounds, static_cast<int>(length),
                                 key.data()) == 1,
          "PBKDF2-HMAC-SHA1");
  return key;
}

std::string digits_of(BlockNumber block) {
  return fmt::format("{:08x}", block.value);
}

// Returns whether it is CBC, without a MAC or ciphertext stealing built in.
bool is_plain_cbc(const EVP_CIPHER* cipher) {
  constexpr unsigned long kOther = EVP_CIPH_FLAG_AEAD_CIPHER | EVP_CIPH_FLAG_CTS;
  return EVP_CIPHER_get_mode(cipher) == EVP_CIPH_CBC_MODE &&
         (EVP_CIPHER_get_flags(cipher) & kOther) == 0 &&
         EVP_CIPHER_get_block_size(cipher) == EVP_CIPHER_get_iv_length(cipher);
}

}  // namespace

void S3backerCipher::FreeCipher::operator()(EVP_CIPHER* cipher) const {
  EVP_CIPHER_free(cipher);
}

void S3backerCipher::FreeMac::operator()(EVP_MAC_CTX* context) const {
  EVP_MAC_CTX_free(context);
}

S3backerCipher::S3backerCipher(const S3backerCipherSettings& settings) {
  choose_cipher(settings.cipher);
  derive_keys(settings);
  prepare_mac();
}

S3backerCipher::~S3backerCipher() {
  OPENSSL_cleanse(key_.data(), key_.size());
  OPENSSL_cleanse(iv_key_.data(), iv_key_.size());
}

void S3backerCipher::choose_cipher(const std::string& name) {
  // The built-in table knows the names of all ciphers, and their aliases, whether or not a provider
  // offers them: its canonical name is also the one that s3backer uses.
  const EVP_CIPHER* known = EVP_get_cipherbyname(name.c_str());
  const int nid = known == nullptr ? NID_undef : EVP_CIPHER_get_nid(known);
  if (nid == NID_undef) {
    throw Error(EINVAL, fmt::format("OpenSSL knows no cipher \"{}\": `openssl list "
                                    "-cipher-commands` prints those there are",
                                    name));
  }
  if (!is_plain_cbc(known)) {
    throw Error(EINVAL, fmt::format("s3backer does not encrypt with \"{}\": the cipher must be a "
                                    "block cipher in CBC mode, such as AES-128-CBC",
                                    name));
  }
  nid_ = nid;
  name_ = OBJ_nid2sn(nid);
  cipher_.reset(EVP_CIPHER_fetch(nullptr, name_.c_str(), nullptr));
  if (cipher_ == nullptr) {
    ERR_clear_error();  // or the next OpenSSL call in this thread reports it as its own
    throw Error(EINVAL,
                fmt::format("this OpenSSL offers the cipher {} only in its legacy provider, "
                            "if at all: to read a volume encrypted with it, activate that "
                            "provider in openssl.cnf (see OSSL_PROVIDER-legacy(7))",
                            name_));
  }
  block_bytes_ = static_cast<std::size_t>(EVP_CIPHER_get_block_size(cipher_.get()));
}

void S3backerCipher::derive_keys(const S3backerCipherSettings& settings) {
  const auto own_bytes = static_cast<std::size_t>(EVP_CIPHER_get_key_length(cipher_.get()));
  const std::size_t length = settings.key_bytes.value_or(own_bytes);
  if (length < own_bytes || length > EVP_MAX_KEY_LENGTH) {
    throw Error(EINVAL, fmt::format("a key length of {} was given, but {} takes {} to {} bytes",
                                    length, name_, own_bytes, EVP_MAX_KEY_LENGTH));
  }
  if (settings.password.empty()) {
    throw Error(EINVAL, fmt::format("the password to encrypt with {} is empty", name_));
  }
  const std::string salt = settings.bucket + "/" + settings.prefix;
  key_ = stretched(settings.password,
                   {reinterpret_cast<const unsigned char*>(salt.data()), salt.size()}, length);
  iv_key_ = stretched({reinterpret_cast<const char*>(key_.data()), key_.size()}, key_, length);
}

void S3backerCipher::prepare_mac() {
  const std::unique_ptr<EVP_MAC, FreeMacMethod> method(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  require(method != nullptr, "HMAC");
  mac_.reset(EVP_MAC_CTX_new(method.get()));
  if (mac_ == nullptr) throw std::bad_alloc();
  std::string digest = "SHA1";
  const std::array<OSSL_PARAM, 2> parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  require(EVP_MAC_init(mac_.get(), key_.data(), key_.size(), parameters.data()) == 1, "HMAC-SHA1");
}

bool S3backerCipher::is_called(std::string_view name) const {
  if (name == name_) return true;
  const EVP_CIPHER* known = EVP_get_cipherbyname(std::string(name).c_str());
  return known != nullptr && EVP_CIPHER_get_nid(known) == nid_;
}

std::array<unsigned char, 16> S3backerCipher::iv_of(BlockNumber block,
                                                    EVP_CIPHER_CTX* context) const {
  static_assert(EVP_MAX_IV_LENGTH == 16);
  std::array<unsigned char, 16> number{};
  const std::string digits = digits_of(block);
  std::copy(digits.begin(), digits.end(), number.begin());
  std::array<unsigned char, 16> iv{};
  int length = 0;
  require(
      EVP_EncryptInit_ex2(context, cipher_.get(), iv_key_.data(), iv_key_.data(), nullptr) == 1 &&
          EVP_CIPHER_CTX_set_padding(context, 0) == 1 &&
          EVP_EncryptUpdate(context, iv.data(), &length, number.data(),
                            static_cast<int>(block_bytes_)) == 1 &&
          static_cast<std::size_t>(length) == block_bytes_,
      name_);
  return iv;
}

std::vector<std::byte> S3backerCipher::encrypt(BlockNumber block,
                                               std::span<const std::byte> text) const {
  return run(block, text, true);
}

std::vector<std::byte> S3backerCipher::decrypt(BlockNumber block,
                                               std::span<const std::byte> body) const {
  if (body.empty() || body.size() % block_bytes_ != 0) {
    throw Error(EIO, fmt::format("{} bytes are no whole number of {}'s blocks of {}", body.size(),
                                 name_, block_bytes_));
  }
  return run(block, body, false);
}

std::vector<std::byte> S3backerCipher::run(BlockNumber block, std::span<const std::byte> input,
                                           bool encrypting) const {
  if (input.size() > std::numeric_limits<int>::max() - kPadding_bytes_max) {
    throw Error(EIO, "a block of 2 GiB or more cannot be encrypted");
  }
  const CipherContext context(EVP_CIPHER_CTX_new());
  if (context == nullptr) throw std::bad_alloc();
  const std::array<unsigned char, 16> iv = iv_of(block, context.get());
  std::vector<std::byte> output(input.size() + kPadding_bytes_max);
  auto* const place = reinterpret_cast<unsigned char*>(output.data());
  int length = 0;
  require(EVP_CipherInit_ex2(context.get(), cipher_.get(), key_.data(), iv.data(),
                             encrypting ? 1 : 0, nullptr) == 1 &&
              EVP_CIPHER_CTX_set_padding(context.get(), 1) == 1 &&
              EVP_CipherUpdate(context.get(), place, &length, raw(input),
                               static_cast<int>(input.size())) == 1,
          name_);
  int rest = 0;
  if (EVP_CipherFinal_ex(context.get(), place + length, &rest) != 1) {
    ERR_clear_error();
    throw Error(EIO, fmt::format("what {} decrypts does not end in its padding", name_));
  }
  output.resize(static_cast<std::size_t>(length) + static_cast<std::size_t>(rest));
  return output;
}

S3backerCipher::Hmac S3backerCipher::hmac(BlockNumber block,
                                          std::span<const std::byte> body) const {
  const std::unique_ptr<EVP_MAC_CTX, FreeMac> context(EVP_MAC_CTX_dup(mac_.get()));
  if (context == nullptr) throw std::bad_alloc();
  const std::string head = digits_of(block) + name_;
  Hmac hmac{};
  std::size_t length = 0;
  require(EVP_MAC_update(context.get(), reinterpret_cast<const unsigned char*>(head.data()),
                         head.size()) == 1 &&
              EVP_MAC_update(context.get(), raw(body), body.size()) == 1 &&
              EVP_MAC_final(context.get(), reinterpret_cast<unsigned char*>(hmac.data()), &length,
                            hmac.size()) == 1 &&
              length == hmac.size(),
          "HMAC-SHA1");
  return hmac;
}

bool S3backerCipher::is_authentic(BlockNumber block, std::span<const std::byte> body,
                                  const Hmac& hmac) const {
  const Hmac right = this->hmac(block, body);
  return CRYPTO_memcmp(right.data(), hmac.data(), right.size()) == 0;
}

}  // namespace nbdstack
