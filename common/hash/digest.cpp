#include "common/hash/digest.hpp"

#include <openssl/evp.h>

#include "common/error.hpp"

namespace nbdstack {
namespace {

// One-shot digests keep no context; a failure means an OpenSSL without the algorithm (FIPS mode).
template <typename Digest>
Digest digest_of(std::span<const std::byte> data, const EVP_MD* algorithm, const char* name) {
  Digest digest{};
  unsigned length = 0;
  if (EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(digest.data()), &length,
                 algorithm, nullptr) != 1 ||
      length != digest.size()) {
    throw Error(ENOTSUP, fmt::format("OpenSSL does not provide {}", name));
  }
  return digest;
}

}  // namespace

Md5Digest md5(std::span<const std::byte> data) {
  return digest_of<Md5Digest>(data, EVP_md5(), "MD5");
}

Sha1Digest sha1(std::span<const std::byte> data) {
  return digest_of<Sha1Digest>(data, EVP_sha1(), "SHA-1");
}

Sha256Digest sha256(std::span<const std::byte> data) {
  return digest_of<Sha256Digest>(data, EVP_sha256(), "SHA-256");
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte each : bytes) {
    text += kDigits[std::to_integer<unsigned>(each) >> 4U];
    text += kDigits[std::to_integer<unsigned>(each) & 0xfU];
  }
  return text;
}

}  // namespace nbdstack
