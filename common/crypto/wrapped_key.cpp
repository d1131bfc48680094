#include "common/crypto/wrapped_key.hpp"

#include <fmt/core.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <bit>
#include <memory>
#include <vector>

#include "common/error.hpp"

namespace nbdstack {
namespace {

struct FreeKdf {
  void operator()(EVP_KDF* kdf) const { EVP_KDF_free(kdf); }
  void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
};

// OpenSSL's parameters are pointers to non-const data, even if it only reads them.
OSSL_PARAM octets(const char* name, std::vector<std::byte>& bytes) {
  return OSSL_PARAM_construct_octet_string(name, bytes.data(), bytes.size());
}

void check(std::string_view passphrase, const ScryptCost& cost) {
  if (passphrase.empty()) throw Error(EINVAL, "passphrase: it is empty");
  if (const auto fault = fault_of(cost)) throw Error(EINVAL, "scrypt: " + *fault);
}

// Returns the memory as OpenSSL counts it (providers/implementations/kdfs/scrypt.c), whose own
// limit is 32 MiB.
std::uint64_t memory_of(const ScryptCost& cost) {
  return std::uint64_t{128} * cost.r * (cost.n + cost.p + 2);
}

SecretKey wrapping_key(std::string_view passphrase, const WrappedKey& wrapped) {
  const std::unique_ptr<EVP_KDF, FreeKdf> kdf(EVP_KDF_fetch(nullptr, "SCRYPT", nullptr));
  const std::unique_ptr<EVP_KDF_CTX, FreeKdf> context(EVP_KDF_CTX_new(kdf.get()));
  if (context == nullptr) throw Error(ENOTSUP, "OpenSSL does not provide scrypt");

  ScryptCost cost = wrapped.cost;
  std::uint64_t memory_bytes = memory_of(cost);
  const auto text = std::as_bytes(std::span(passphrase));
  std::vector<std::byte> secret(text.begin(), text.end());
  std::vector<std::byte> salt(wrapped.salt.begin(), wrapped.salt.end());
  const OSSL_PARAM parameters[] = {
      octets(OSSL_KDF_PARAM_PASSWORD, secret),
      octets(OSSL_KDF_PARAM_SALT, salt),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &cost.n),
      OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &cost.r),
      OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &cost.p),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory_bytes),
      OSSL_PARAM_construct_end(),
  };
  SecretKey key;
  const int result =
      EVP_KDF_derive(context.get(), reinterpret_cast<unsigned char*>(key.buffer().data()),
                     SecretKey::kBytes, parameters);
  OPENSSL_cleanse(secret.data(), secret.size());
  if (result != 1) {
    ERR_clear_error();
    throw Error(ENOMEM, fmt::format("passphrase: scrypt failed; it needs {} MiB of memory",
                                    (memory_bytes >> 20U) + 1));
  }
  return key;
}

}  // namespace

std::optional<std::string> fault_of(const ScryptCost& cost) {
  if (cost.n < 2 || !std::has_single_bit(cost.n)) {
    return fmt::format("n={} is no power of two from 2", cost.n);
  }
  if (cost.r == 0 || cost.p == 0) return "r and p must not be 0";
  // Divisions, because the products of hostile numbers overflow.
  if (cost.n > kScryptMemory_bytes_max / 128 / cost.r) {
    return fmt::format("n={}, r={} would take more than {} MiB of memory", cost.n, cost.r,
                       kScryptMemory_bytes_max >> 20U);
  }
  if (cost.p > kScryptWork_max / (cost.n * cost.r)) {
    return fmt::format("n={}, r={}, p={} would take too long", cost.n, cost.r, cost.p);
  }
  return std::nullopt;
}

WrappedKey wrap_key(const SecretKey& key, std::string_view passphrase, std::string_view purpose,
                    const ScryptCost& cost) {
  check(passphrase, cost);
  WrappedKey wrapped{.cost = cost};
  fill_random(wrapped.salt);
  seal(wrapping_key(passphrase, wrapped), std::as_bytes(std::span(purpose)), key.bytes(),
       wrapped.sealed);
  return wrapped;
}

std::optional<SecretKey> unwrap_key(const WrappedKey& wrapped, std::string_view passphrase,
                                    std::string_view purpose) {
  check(passphrase, wrapped.cost);
  SecretKey key;
  if (!unseal(wrapping_key(passphrase, wrapped), std::as_bytes(std::span(purpose)), wrapped.sealed,
              key.buffer())) {
    return std::nullopt;
  }
  return key;
}

}  // namespace nbdstack
