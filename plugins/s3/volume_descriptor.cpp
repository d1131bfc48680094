#include "plugins/s3/volume_descriptor.hpp"

#include <fmt/core.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "plugins/s3/big_endian.hpp"

namespace nbdstack {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "nbdstack-volume";
constexpr std::uint64_t kPlainVersion = 1;
constexpr std::uint64_t kFramedVersion = 2;
constexpr std::string_view kCipher = "aes-256-gcm";
constexpr std::string_view kKdf = "scrypt";
constexpr std::string_view kMacLabel = "nbdstack descriptor";
constexpr std::uint64_t kSize_bytes_max = std::numeric_limits<std::int64_t>::max();

using FieldNames = std::vector<std::string_view>;
const FieldNames& fields_of(std::uint64_t version) {
  static const FieldNames plain{"format", "version", "size", "object-size", "id"};
  static const FieldNames framed{"format", "version", "size", "object-size", "id", "encryption"};
  return version == kPlainVersion ? plain : framed;
}
const FieldNames& encryption_fields() {
  static const FieldNames fields{"cipher", "kdf", "n", "r", "p", "salt", "wrapped-key", "mac"};
  return fields;
}

[[noreturn]] void refuse(const std::string& object_name, const std::string& reason) {
  throw Error(EINVAL, fmt::format("{}: not a volume descriptor that this version understands: {}",
                                  object_name, reason));
}

std::uint64_t number_of(const Json& json, const char* field, const std::string& object_name) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_number_unsigned()) {
    refuse(object_name, fmt::format("\"{}\" is missing or no number", field));
  }
  return found->get<std::uint64_t>();
}

std::string text_of(const Json& json, const char* field, const std::string& object_name) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_string()) {
    refuse(object_name, fmt::format("\"{}\" is missing or no text", field));
  }
  return found->get<std::string>();
}

void check_text(const Json& json, const char* field, std::string_view expected,
                const std::string& object_name) {
  const std::string text = text_of(json, field, object_name);
  if (text != expected) refuse(object_name, fmt::format("its {} is \"{}\"", field, text));
}

// Lower case, exactly as many digits as fill `bytes`.
void read_hex(const Json& json, const char* field, std::span<std::byte> bytes,
              const std::string& object_name) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const std::string text = text_of(json, field, object_name);
  if (text.size() != 2 * bytes.size() || text.find_first_not_of(kDigits) != std::string::npos) {
    refuse(object_name, fmt::format("\"{}\" is not {} hexadecimal digits in lower case", field,
                                    2 * bytes.size()));
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] =
        static_cast<std::byte>(kDigits.find(text[2 * i]) << 4U | kDigits.find(text[2 * i + 1]));
  }
}

// Format and version come first: the other fields mean something only after them.
std::uint64_t version_of(const Json& json, const std::string& object_name) {
  check_text(json, "format", kFormat, object_name);
  const std::uint64_t version = number_of(json, "version", object_name);
  if (version != kPlainVersion && version != kFramedVersion) {
    refuse(object_name, fmt::format("it is of version {}, and versions {} and {} are the only ones "
                                    "known",
                                    version, kPlainVersion, kFramedVersion));
  }
  return version;
}

void check_fields(const Json& json, const FieldNames& known, const std::string& object_name) {
  for (const auto& item : json.items()) {
    if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
      refuse(object_name, fmt::format("the field \"{}\" is unknown", item.key()));
    }
  }
}

std::uint32_t small_number_of(const Json& json, const char* field, const std::string& object_name) {
  const std::uint64_t number = number_of(json, field, object_name);
  if (number > std::numeric_limits<std::uint32_t>::max()) {
    refuse(object_name, fmt::format("\"{}\" is {}, which is not possible", field, number));
  }
  return static_cast<std::uint32_t>(number);
}

VolumeEncryption parse_encryption(const Json& json, const std::string& object_name) {
  if (!json.is_object()) refuse(object_name, "\"encryption\" is no object");
  check_fields(json, encryption_fields(), object_name);
  check_text(json, "cipher", kCipher, object_name);
  check_text(json, "kdf", kKdf, object_name);
  VolumeEncryption encryption;
  WrappedKey& wrapped = encryption.wrapped_key;
  wrapped.cost = {.n = number_of(json, "n", object_name),
                  .r = small_number_of(json, "r", object_name),
                  .p = small_number_of(json, "p", object_name)};
  if (const auto fault = fault_of(wrapped.cost)) refuse(object_name, "scrypt: " + *fault);
  read_hex(json, "salt", wrapped.salt, object_name);
  read_hex(json, "wrapped-key", wrapped.sealed, object_name);
  read_hex(json, "mac", encryption.mac, object_name);
  return encryption;
}

Json json_of(const VolumeEncryption& encryption) {
  const WrappedKey& wrapped = encryption.wrapped_key;
  Json json;
  json["cipher"] = kCipher;
  json["kdf"] = kKdf;
  json["n"] = wrapped.cost.n;
  json["r"] = wrapped.cost.r;
  json["p"] = wrapped.cost.p;
  json["salt"] = to_hex(wrapped.salt);
  json["wrapped-key"] = to_hex(wrapped.sealed);
  json["mac"] = to_hex(encryption.mac);
  return json;
}

}  // namespace

VolumeDescriptor VolumeDescriptor::make(std::uint64_t size_bytes, std::uint32_t object_size) {
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", random());
  VolumeDescriptor descriptor;
  descriptor.size_bytes = size_bytes;
  descriptor.object_size = object_size;
  descriptor.id = id;
  return descriptor;
}

VolumeDescriptor VolumeDescriptor::parse(const std::string& text, const std::string& object_name) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) refuse(object_name, "it is no JSON object");
  const std::uint64_t version = version_of(json, object_name);
  check_fields(json, fields_of(version), object_name);

  const std::uint64_t size_bytes = number_of(json, "size", object_name);
  if (size_bytes == 0 || size_bytes > kSize_bytes_max) {
    refuse(object_name, fmt::format("a size of {} is not possible", size_bytes));
  }
  const std::uint64_t object_size = number_of(json, "object-size", object_name);
  if (object_size < kObjectSize_bytes_min || object_size > kObjectSize_bytes_max ||
      !std::has_single_bit(object_size)) {
    refuse(object_name, fmt::format("an object-size of {} is not possible", object_size));
  }
  VolumeDescriptor descriptor;
  descriptor.size_bytes = size_bytes;
  descriptor.object_size = static_cast<std::uint32_t>(object_size);
  descriptor.id = text_of(json, "id", object_name);
  descriptor.framed = version == kFramedVersion;
  const auto encryption = json.find("encryption");
  if (encryption != json.end()) {
    descriptor.encryption = parse_encryption(*encryption, object_name);
  }
  return descriptor;
}

std::string VolumeDescriptor::to_json() const {
  Json json;
  json["format"] = kFormat;
  json["version"] = framed ? kFramedVersion : kPlainVersion;
  json["size"] = size_bytes;
  json["object-size"] = object_size;
  json["id"] = id;
  if (encryption.has_value()) json["encryption"] = json_of(*encryption);
  return json.dump(2) + "\n";
}

bool VolumeDescriptor::allow_frames() {
  const bool changed = !framed;
  framed = true;
  return changed;
}

SecretKey VolumeDescriptor::encrypt(std::string_view passphrase, const ScryptCost& cost) {
  SecretKey key = SecretKey::random();
  encryption = {.wrapped_key = wrap_key(key, passphrase, id, cost), .mac = mac_by(key)};
  framed = true;
  return key;
}

SecretKey VolumeDescriptor::unlock(std::string_view passphrase,
                                   const std::string& object_name) const {
  if (!encryption.has_value()) {
    throw Error(EINVAL, fmt::format("passphrase: one was given, but by {} volume {} is not "
                                    "encrypted: leave passphrase out if it never was",
                                    object_name, id));
  }
  auto key = unwrap_key(encryption->wrapped_key, passphrase, id);
  if (!key.has_value()) {
    throw Error(EACCES, fmt::format("passphrase: the one given is not that of volume {} ({})", id,
                                    object_name));
  }
  if (!is_key(*key)) {
    throw Error(EINVAL, fmt::format("{}: its size or object-size was changed by somebody without "
                                    "the key of volume {}",
                                    object_name, id));
  }
  return std::move(*key);
}

void VolumeDescriptor::resize(std::uint64_t new_size_bytes,
                              const std::optional<SecretKey>& volume_key) {
  if (new_size_bytes == 0 || new_size_bytes > kSize_bytes_max) {
    throw Error(EINVAL, fmt::format("size={} is not possible", new_size_bytes));
  }
  if (encryption.has_value() && (!volume_key.has_value() || !is_key(*volume_key))) {
    throw Error(EINVAL, fmt::format("volume {} is encrypted: changing its size takes its "
                                    "passphrase",
                                    id));
  }
  size_bytes = new_size_bytes;
  if (encryption.has_value()) encryption->mac = mac_by(*volume_key);
}

void VolumeDescriptor::change_passphrase(const SecretKey& volume_key,
                                         std::string_view new_passphrase, const ScryptCost& cost) {
  if (!encryption.has_value() || !is_key(volume_key)) {
    throw Error(EINVAL, fmt::format("volume {} is not encrypted by the key given: there is no "
                                    "passphrase to change",
                                    id));
  }
  encryption->wrapped_key = wrap_key(volume_key, new_passphrase, id, cost);
}

std::array<std::byte, 32> VolumeDescriptor::mac_by(const SecretKey& volume_key) const {
  std::vector<std::byte> text(sizeof size_bytes + sizeof object_size);
  store_big_endian(size_bytes, std::span(text).first(sizeof size_bytes));
  store_big_endian(object_size, std::span(text).last(sizeof object_size));
  const auto id_bytes = std::as_bytes(std::span(id));
  text.insert(text.end(), id_bytes.begin(), id_bytes.end());
  std::array<std::byte, 32> mac{};
  volume_key.derive(kMacLabel, text, mac);
  return mac;
}

bool VolumeDescriptor::is_key(const SecretKey& volume_key) const {
  const auto mac = mac_by(volume_key);
  return CRYPTO_memcmp(mac.data(), encryption->mac.data(), mac.size()) == 0;
}

}  // namespace nbdstack
