#include "filters/cache/store/durable/directory_key.hpp"

#include <fmt/format.h>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kPurpose = "nbdstack cache pages";

Error not_encrypted(const std::string& path) {
  return Error(
      EINVAL, fmt::format("cache-encrypt: {0} was taken into use without it, and is not encrypted. "
                          "Name another directory; or start once without cache-encrypt, so that "
                          "what it holds is written back, and make it a new one with "
                          "\"nbdstack-cache discard {0}\"",
                          path));
}

Error needs_passphrase(const std::string& path) {
  return Error(
      EACCES,
      fmt::format("{0} is encrypted: give its passphrase with cache-encrypt. \"nbdstack-cache "
                  "discard {0}\" makes it a new one",
                  path));
}

Error wrong_passphrase(const std::string& path) {
  return Error(
      EACCES,
      fmt::format(
          "cache-encrypt: this is not the passphrase of {0}: give the one with which it was "
          "taken into use. Without it \"nbdstack-cache show {0}\" says what was never written "
          "back, and \"nbdstack-cache discard {0}\" makes it a new one",
          path));
}

}  // namespace

DirectoryKey unlock(const std::optional<CacheIdentity>& found,
                    const std::optional<std::string>& passphrase, const std::string& path,
                    const ScryptCost& cost) {
  const bool is_encrypted = found && found->encryption;
  if (!passphrase) {
    if (is_encrypted) throw needs_passphrase(path);
    return {};
  }
  if (!found) {
    const SecretKey key = SecretKey::random();
    return {wrap_key(key, *passphrase, kPurpose, cost), std::make_shared<UnitCipher>(key)};
  }
  if (!is_encrypted) throw not_encrypted(path);
  const auto key = unwrap_key(*found->encryption, *passphrase, kPurpose);
  if (!key) throw wrong_passphrase(path);
  return {found->encryption, std::make_shared<UnitCipher>(*key)};
}

}  // namespace nbdstack
