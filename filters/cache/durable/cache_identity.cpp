#include "filters/cache/durable/cache_identity.hpp"

#include <fmt/format.h>

#include "common/io/key_value_text.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kFormat = "2";
constexpr std::string_view kFormatWithoutDisk = "1";

bool read_term(const std::string& text, std::optional<std::uint64_t>& term) {
  if (text.empty()) return true;
  std::uint64_t number = 0;
  if (!parse_number(text, number)) return false;
  term = number;
  return true;
}

}  // namespace

std::string to_text(const CacheIdentity& identity) {
  return to_key_value_text({{"format", std::string(kFormat)},
                            {"export", identity.export_name},
                            {"disk_size", std::to_string(identity.disk_size_bytes)},
                            {"block_size", std::to_string(identity.block_size_bytes)},
                            {"cache_id", identity.cache_id},
                            {"disk_id", identity.disk_id},
                            {"term", identity.term ? std::to_string(*identity.term) : ""},
                            {"alone", identity.alone ? "1" : "0"},
                            {"uuid", random_uuid()}});
}

std::optional<CacheIdentity> parse_cache_identity(std::string_view text) {
  auto parsed = parse_key_value_text(text);
  if (!parsed) return std::nullopt;
  KeyValues& values = *parsed;
  CacheIdentity identity{.export_name = values["export"], .cache_id = values["cache_id"]};
  const bool is_new = values["format"] == kFormat;
  const bool valid = (is_new || values["format"] == kFormatWithoutDisk) &&
                     parse_number(values["disk_size"], identity.disk_size_bytes) &&
                     parse_number(values["block_size"], identity.block_size_bytes) &&
                     values.contains("uuid");
  if (!valid) return std::nullopt;
  if (!is_new) return identity;
  identity.disk_id = values["disk_id"];
  identity.alone = values["alone"] == "1";
  if (!read_term(values["term"], identity.term)) return std::nullopt;
  return identity;
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
  compare("disk size", found.disk_size_bytes, wanted.disk_size_bytes);
  compare("block size", found.block_size_bytes, wanted.block_size_bytes);
  compare("cache-id", found.cache_id, wanted.cache_id);
  return text;
}

}  // namespace nbdstack
