#include "filters/cache/store/durable/cache_identity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "common/hash/base64.hpp"
#include "common/io/key_value_text.hpp"
#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kFormat = "2";
constexpr std::string_view kFormatWithoutDisk = "1";
constexpr std::string_view kFormatEncrypted = "3";
constexpr std::string_view kCipher = "aes-256-xts";

bool read_term(const std::string& text, std::optional<std::uint64_t>& term) {
  if (text.empty()) return true;
  std::uint64_t number = 0;
  if (!parse_number(text, number)) return false;
  term = number;
  return true;
}

bool read_bytes(const std::string& text, std::span<std::byte> bytes) {
  const auto decoded = from_base64(text);
  if (!decoded || decoded->size() != bytes.size()) return false;
  std::copy(decoded->begin(), decoded->end(), bytes.begin());
  return true;
}

bool read_encryption(KeyValues& values, std::optional<WrappedKey>& encryption) {
  encryption.emplace();
  return values["cipher"] == kCipher && parse_number(values["scrypt_n"], encryption->cost.n) &&
         parse_number(values["scrypt_r"], encryption->cost.r) &&
         parse_number(values["scrypt_p"], encryption->cost.p) && !fault_of(encryption->cost) &&
         read_bytes(values["salt"], encryption->salt) &&
         read_bytes(values["wrapped_key"], encryption->sealed);
}

}  // namespace

std::string to_text(const CacheIdentity& identity) {
  const auto& encryption = identity.encryption;
  std::vector<std::pair<std::string, std::string>> values{
      {"format", std::string(encryption ? kFormatEncrypted : kFormat)},
      {"export", identity.export_name},
      {"disk_size", std::to_string(identity.disk_size_bytes)},
      {"block_size", std::to_string(identity.block_size_bytes)},
      {"cache_id", identity.cache_id},
      {"disk_id", identity.disk_id},
      {"term", identity.term ? std::to_string(*identity.term) : ""},
      {"alone", identity.alone ? "1" : "0"},
      {"uuid", random_uuid()}};
  if (encryption) {
    values.emplace_back("cipher", kCipher);
    values.emplace_back("scrypt_n", std::to_string(encryption->cost.n));
    values.emplace_back("scrypt_r", std::to_string(encryption->cost.r));
    values.emplace_back("scrypt_p", std::to_string(encryption->cost.p));
    values.emplace_back("salt", to_base64(encryption->salt));
    values.emplace_back("wrapped_key", to_base64(encryption->sealed));
  }
  return to_key_value_text(values);
}

std::optional<CacheIdentity> parse_cache_identity(std::string_view text) {
  auto parsed = parse_key_value_text(text);
  if (!parsed) return std::nullopt;
  KeyValues& values = *parsed;
  CacheIdentity identity{.export_name = values["export"], .cache_id = values["cache_id"]};
  const bool is_encrypted = values["format"] == kFormatEncrypted;
  const bool is_new = is_encrypted || values["format"] == kFormat;
  const bool valid = (is_new || values["format"] == kFormatWithoutDisk) &&
                     parse_number(values["disk_size"], identity.disk_size_bytes) &&
                     parse_number(values["block_size"], identity.block_size_bytes) &&
                     values.contains("uuid");
  if (!valid) return std::nullopt;
  if (!is_new) return identity;
  if (is_encrypted && !read_encryption(values, identity.encryption)) return std::nullopt;
  identity.disk_id = values["disk_id"];
  identity.alone = values["alone"] == "1";
  if (!read_term(values["term"], identity.term)) return std::nullopt;
  return identity;
}

bool has_only_grown(const CacheIdentity& found, const CacheIdentity& wanted) {
  return !found.disk_id.empty() && found.disk_id == wanted.disk_id &&
         wanted.disk_size_bytes > found.disk_size_bytes && found.block_size_bytes != 0 &&
         found.disk_size_bytes % found.block_size_bytes == 0;
}

std::string difference(const CacheIdentity& found, const CacheIdentity& wanted) {
  std::string text;
  const auto compare = [&](const char* what, const auto& there, const auto& here) {
    if (there == here) return;
    text += fmt::format("{}{} \"{}\", not \"{}\"", text.empty() ? "" : ", ", what, there, here);
  };
  if (found.disk_id.empty() || wanted.disk_id.empty()) {
    compare("export", found.export_name, wanted.export_name);
  }
  if (!has_only_grown(found, wanted)) {
    compare("disk size", found.disk_size_bytes, wanted.disk_size_bytes);
  }
  compare("block size", found.block_size_bytes, wanted.block_size_bytes);
  compare("cache-id", found.cache_id, wanted.cache_id);
  return text;
}

}  // namespace nbdstack
