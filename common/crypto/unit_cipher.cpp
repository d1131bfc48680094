#include "common/crypto/unit_cipher.hpp"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cassert>
#include <new>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kPart_bytes = 16;
constexpr std::size_t kParts = UnitCipher::kUnit_bytes / kPart_bytes;

using Unit = std::span<std::byte, UnitCipher::kUnit_bytes>;
using Tweak = std::array<unsigned char, 16>;

void require(bool works) {
  if (works) return;
  ERR_clear_error();  // TLS on this thread must not take it for a failure of its own
  throw Error(ENOTSUP, "OpenSSL does not provide AES-256-XTS");
}

Tweak tweak_of(UnitCipher::Place place) {
  Tweak tweak{};
  std::uint64_t number = place.position / UnitCipher::kUnit_bytes;
  for (std::size_t i = 0; i < sizeof number; ++i, number >>= 8U) {
    tweak.at(i) = static_cast<unsigned char>(number);
  }
  tweak.at(sizeof number) = place.file;
  return tweak;
}

void run(EVP_CIPHER_CTX* context, UnitCipher::Place place, const std::byte* input,
         std::byte* output) {
  const Tweak tweak = tweak_of(place);
  int length = 0;
  require(EVP_CipherInit_ex2(context, nullptr, nullptr, tweak.data(), -1, nullptr) == 1 &&
          EVP_CipherUpdate(context, reinterpret_cast<unsigned char*>(output), &length,
                           reinterpret_cast<const unsigned char*>(input),
                           static_cast<int>(UnitCipher::kUnit_bytes)) == 1 &&
          static_cast<std::size_t>(length) == UnitCipher::kUnit_bytes);
}

bool is_zero_part(const std::byte* part) {
  std::uint64_t words[2];
  std::memcpy(words, part, sizeof words);
  return (words[0] | words[1]) == 0;
}

bool has_zero_part(Unit unit) {
  bool found = false;
  for (std::size_t part = 0; part < kParts; ++part) {
    found |= is_zero_part(&unit[part * kPart_bytes]);
  }
  return found;
}

std::bitset<kParts> zero_parts(Unit unit) {
  std::bitset<kParts> zeros;
  for (std::size_t part = 0; part < kParts; ++part) {
    zeros[part] = is_zero_part(&unit[part * kPart_bytes]);
  }
  return zeros;
}

}  // namespace

// A context on loan from `contexts`.
class UnitCipher::Borrowed {
 public:
  explicit Borrowed(Contexts& contexts) : contexts_(contexts), context_(contexts.take()) {}
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  ~Borrowed() { contexts_.give_back(std::move(context_)); }

  [[nodiscard]] EVP_CIPHER_CTX* get() const { return context_.get(); }

 private:
  Contexts& contexts_;
  CipherContext context_;
};

// Room for each one that exists is made here, so that giving back cannot fail.
CipherContext UnitCipher::Contexts::take() {
  const MutexLock lock(mutex_);
  if (!unused_.empty()) {
    CipherContext context = std::move(unused_.back());
    unused_.pop_back();
    return context;
  }
  unused_.reserve(made_ + 1);
  CipherContext context(EVP_CIPHER_CTX_new());
  if (context == nullptr || EVP_CIPHER_CTX_copy(context.get(), first_.get()) != 1) {
    ERR_clear_error();
    throw std::bad_alloc();
  }
  ++made_;
  return context;
}

void UnitCipher::Contexts::give_back(CipherContext context) {
  const MutexLock lock(mutex_);
  unused_.push_back(std::move(context));
}

UnitCipher::UnitCipher(const SecretKey& key)
    : encrypting_(keyed(key, true)), decrypting_(keyed(key, false)) {}

// XTS takes two keys: one for the text, one for the tweaks.
CipherContext UnitCipher::keyed(const SecretKey& key, bool encrypting) {
  std::array<std::byte, 2 * SecretKey::kBytes> keys{};
  const std::span<std::byte, 2 * SecretKey::kBytes> both(keys);
  key.derive("nbdstack unit text", {}, both.first<SecretKey::kBytes>());
  key.derive("nbdstack unit tweak", {}, both.last<SecretKey::kBytes>());
  CipherContext context(EVP_CIPHER_CTX_new());
  const bool works = context != nullptr &&
                     EVP_CipherInit_ex2(context.get(), EVP_aes_256_xts(), raw(std::as_bytes(both)),
                                        nullptr, encrypting ? 1 : 0, nullptr) == 1;
  OPENSSL_cleanse(keys.data(), keys.size());
  require(works);
  return context;
}

void UnitCipher::encrypt(std::span<const std::byte> text, Place place,
                         std::span<std::byte> sealed) const {
  assert(text.size() == sealed.size() && text.size() % kUnit_bytes == 0);
  assert(place.position % kUnit_bytes == 0);
  const Borrowed context(encrypting_);
  for (std::size_t at = 0; at < text.size(); at += kUnit_bytes) {
    run(context.get(), {place.position + at, place.file}, &text[at], &sealed[at]);
  }
}

void UnitCipher::decrypt(std::span<std::byte> bytes, Place place) const {
  assert(bytes.size() % kUnit_bytes == 0 && place.position % kUnit_bytes == 0);
  const Borrowed context(decrypting_);
  for (std::size_t at = 0; at < bytes.size(); at += kUnit_bytes) {
    const Unit unit = bytes.subspan(at).first<kUnit_bytes>();
    const bool partly_zeros = has_zero_part(unit);
    const auto zeros = partly_zeros ? zero_parts(unit) : std::bitset<kParts>();
    run(context.get(), {place.position + at, place.file}, unit.data(), unit.data());
    for (std::size_t part = 0; partly_zeros && part < kParts; ++part) {
      if (zeros[part]) std::fill_n(&unit[part * kPart_bytes], kPart_bytes, std::byte{0});
    }
  }
}

}  // namespace nbdstack
