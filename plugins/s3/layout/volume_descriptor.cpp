#include "plugins/s3/layout/volume_descriptor.hpp"

#include <fmt/core.h>
#include <openssl/crypto.h>

#include <array>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/io/big_endian.hpp"
#include "plugins/s3/store/record_reader.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kFormat = "nbdstack-volume";
constexpr std::uint64_t kPlainVersion = 1;
constexpr std::uint64_t kFramedVersion = 2;
constexpr std::string_view kKdf = "scrypt";
constexpr std::string_view kMacLabel = "nbdstack descriptor";
constexpr std::string_view kWrapLabel = "nbdstack volume key";
constexpr std::uint64_t kSize_bytes_max = std::numeric_limits<std::int64_t>::max();

constexpr std::array<std::string_view, 6> kFields{"format",      "version", "size",
                                                  "object-size", "id",      "encryption"};
constexpr std::array<std::string_view, 8> kEncryptionFields{"cipher", "kdf",  "n",           "r",
                                                            "p",      "salt", "wrapped-key", "mac"};

std::span<const std::string_view> fields_of(std::uint64_t version) {
  const std::span<const std::string_view> all(kFields);
  return version == kPlainVersion ? all.first(all.size() - 1) : all;
}

[[noreturn]] void refuse(const std::string& object_name, const std::string& reason) {
  throw Error(EINVAL, fmt::format("{}: not a volume descriptor that this version understands: {}",
                                  object_name, reason));
}

// Format and version come first: they decide what the other fields mean.
std::uint64_t version_of(const RecordReader& record) {
  record.expect_text("format", kFormat);
  const std::uint64_t version = record.number("version");
  if (version != kPlainVersion && version != kFramedVersion) {
    record.refuse(fmt::format("it is of version {}, and versions {} and {} are the only ones known",
                              version, kPlainVersion, kFramedVersion));
  }
  return version;
}

// The purpose that the volume's key is wrapped for.
std::string purpose_of(const std::string& volume_id) {
  std::string purpose(kWrapLabel);
  purpose += '\0';
  return purpose + volume_id;
}

VolumeEncryption parse_encryption(const RecordReader& record) {
  record.expect_no_other_fields(kEncryptionFields);
  record.expect_text("cipher", kOwnCipher);
  record.expect_text("kdf", kKdf);
  VolumeEncryption encryption;
  WrappedKey& wrapped = encryption.wrapped_key;
  wrapped.cost = {
      .n = record.number("n"), .r = record.small_number("r"), .p = record.small_number("p")};
  if (const auto fault = fault_of(wrapped.cost)) record.refuse("scrypt: " + *fault);
  record.read_hex("salt", wrapped.salt);
  record.read_hex("wrapped-key", wrapped.sealed);
  record.read_hex("mac", encryption.mac);
  return encryption;
}

nlohmann::ordered_json json_of(const VolumeEncryption& encryption) {
  const WrappedKey& wrapped = encryption.wrapped_key;
  nlohmann::ordered_json json;
  json["cipher"] = kOwnCipher;
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
  const RecordReader record(text, object_name, refuse);
  const std::uint64_t version = version_of(record);
  record.expect_no_other_fields(fields_of(version));

  const std::uint64_t size_bytes = record.number("size");
  if (size_bytes == 0 || size_bytes > kSize_bytes_max) {
    record.refuse(fmt::format("a size of {} is not possible", size_bytes));
  }
  const std::uint64_t object_size = record.number("object-size");
  if (object_size < kObjectSize_bytes_min || object_size > kObjectSize_bytes_max ||
      !std::has_single_bit(object_size)) {
    record.refuse(fmt::format("an object-size of {} is not possible", object_size));
  }
  VolumeDescriptor descriptor;
  descriptor.size_bytes = size_bytes;
  descriptor.object_size = static_cast<std::uint32_t>(object_size);
  descriptor.id = record.text("id");
  descriptor.framed = version == kFramedVersion;
  if (const auto encryption = record.record("encryption")) {
    descriptor.encryption = parse_encryption(*encryption);
  }
  return descriptor;
}

std::string VolumeDescriptor::to_json() const {
  nlohmann::ordered_json json;
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
  encryption = {.wrapped_key = wrap_key(key, passphrase, purpose_of(id), cost), .mac = mac_by(key)};
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
  auto key = unwrap_key(encryption->wrapped_key, passphrase, purpose_of(id));
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
  encryption->wrapped_key = wrap_key(volume_key, new_passphrase, purpose_of(id), cost);
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
