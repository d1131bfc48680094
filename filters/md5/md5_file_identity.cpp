#include "filters/md5/md5_file_identity.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <vector>

#include "common/error.hpp"
#include "common/hash/xxh3.hpp"
#include "common/io/key_value_text.hpp"
#include "common/parse_number.hpp"
#include "filters/md5/md5_file_layout.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kFirstKey = "md5-file=";
constexpr std::size_t kSecond_offset = kIdentity_bytes / 2;

std::string checksum_text(std::string_view text) {
  return fmt::format("{:016x}", xxh3_64(std::as_bytes(std::span(text)), 0));
}

template <typename Number>
bool parse_optional(KeyValues& values, const std::string& key, std::optional<Number>& number) {
  if (!values.contains(key)) return true;
  return parse_number(values[key], number.emplace());
}

std::optional<Md5FileIdentity> parse_identity(std::string_view text) {
  const std::size_t check = text.rfind("check=");
  if (check == std::string_view::npos) return std::nullopt;
  auto values = parse_key_value_text(text);
  if (!values || (*values)["check"] != checksum_text(text.substr(0, check))) return std::nullopt;
  const std::string version = (*values)["md5-file"];
  Md5FileIdentity identity;
  identity.export_name = (*values)["export"];
  identity.uuid = (*values)["uuid"];
  if (!parse_number((*values)["block_size"], identity.block_size)) return std::nullopt;
  if (version == "1") return identity;
  std::optional<std::uint32_t> generation;
  identity.disk_id = (*values)["disk"];
  if (version != "2" || !parse_optional(*values, "term", identity.term) ||
      !parse_optional(*values, "generation", generation)) {
    return std::nullopt;
  }
  identity.generation = generation.value_or(0);
  return identity;
}

std::string text_of(const Md5FileIdentity& identity, const std::string& path) {
  const bool is_first_version =
      identity.disk_id.empty() && !identity.term && identity.generation == 0;
  std::vector<std::pair<std::string, std::string>> values{
      {"md5-file", is_first_version ? "1" : "2"},
      {"export", identity.export_name},
      {"block_size", std::to_string(identity.block_size)},
      {"uuid", identity.uuid}};
  if (!identity.disk_id.empty()) values.emplace_back("disk", identity.disk_id);
  if (identity.term) values.emplace_back("term", std::to_string(*identity.term));
  if (identity.generation > 0) {
    values.emplace_back("generation", std::to_string(identity.generation));
  }
  std::string text = to_key_value_text(values);
  text += fmt::format("check={}\n", checksum_text(text));
  if (text.size() > kIdentity_bytes) {
    throw Error(EINVAL, fmt::format("md5-file {}: the export's name is too long", path));
  }
  return text;
}

void put(const std::string& text, std::size_t offset, std::span<std::byte> bytes) {
  std::copy_n(std::as_bytes(std::span(text)).begin(), text.size(),
              bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}

bool fits_twice(const std::string& text) {
  return text.size() < kSecond_offset;
}

}  // namespace

std::optional<Md5FileIdentity> read_identity(const StorageFile& file) {
  std::string text(kRecords_offset, '\0');
  read_padded(file, std::as_writable_bytes(std::span(text)), 0);
  const bool empty = text.find_first_not_of('\0') == std::string::npos;
  const std::string_view all = std::string_view(text).substr(0, kIdentity_bytes);
  const std::string_view first = all.substr(0, all.find('\0'));
  const std::string_view half = all.substr(kSecond_offset);
  const std::string_view second = half.substr(0, half.find('\0'));
  const bool ours = first.starts_with(kFirstKey) || second.starts_with(kFirstKey);
  if (!ours && !(empty && file.size_bytes() <= kRecords_offset)) {
    throw Error(EINVAL, fmt::format("{} is not an md5-file: a server makes one where there is no "
                                    "file yet",
                                    file.path()));
  }
  auto identity = parse_identity(first);
  if (!identity) identity = parse_identity(second);
  if (identity) return identity;
  // Until the identity is durable, nothing is written behind the list.
  if (file.size_bytes() <= kRecords_offset) return std::nullopt;
  throw Error(EINVAL, fmt::format("md5-file {} is damaged or of another version. To begin anew, "
                                  "remove it: all digests in it are forgotten",
                                  file.path()));
}

void write_new_identity(StorageFile& file, const Md5FileIdentity& identity) {
  const std::string text = text_of(identity, file.path());
  // Written, not left as a hole: a full disk must show now, not when a region is opened.
  std::vector<std::byte> bytes(kRecords_offset);
  put(text, 0, bytes);
  if (fits_twice(text)) put(text, kSecond_offset, bytes);
  file.write_at(bytes, 0);
  file.sync_data();
}

void replace_identity(StorageFile& file, const Md5FileIdentity& identity) {
  const std::string text = text_of(identity, file.path());
  if (!fits_twice(text)) {
    std::vector<std::byte> bytes(kIdentity_bytes);
    put(text, 0, bytes);
    file.write_at(bytes, 0);
    file.sync_data();
    return;
  }
  std::vector<std::byte> bytes(kSecond_offset);
  put(text, 0, bytes);
  for (const std::size_t offset : {kSecond_offset, std::size_t{0}}) {
    file.write_at(bytes, offset);
    file.sync_data();
  }
}

}  // namespace nbdstack
