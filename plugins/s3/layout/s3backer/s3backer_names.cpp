#include "plugins/s3/layout/s3backer/s3backer_names.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kBlockDigits = 8;

bool is_lower_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

// Removes the number that `text` begins with from it, and returns that number.
std::optional<std::uint32_t> take_number(std::string_view& text) {
  const std::string_view digits = text.substr(0, kBlockDigits);
  std::uint32_t number = 0;
  if (digits.size() != kBlockDigits || !std::all_of(digits.begin(), digits.end(), is_lower_hex) ||
      !parse_number(digits, number, 16)) {
    return std::nullopt;
  }
  text.remove_prefix(kBlockDigits);
  return number;
}

}  // namespace

std::string S3backerNames::block(BlockNumber block) const {
  if (!with_hash_) return fmt::format("{}{:08x}", prefix_, block.value);
  return fmt::format("{}{:08x}-{:08x}", prefix_, hash_of(static_cast<std::uint32_t>(block.value)),
                     block.value);
}

std::string S3backerNames::mount_token() const {
  return prefix_ + "s3backer-mounted";
}

std::optional<BlockNumber> S3backerNames::parse_block(std::string_view name) const {
  if (!name.starts_with(prefix_)) return std::nullopt;
  name.remove_prefix(prefix_.size());
  std::optional<std::uint32_t> hash;
  if (with_hash_) {
    hash = take_number(name);
    if (!hash.has_value() || !name.starts_with('-')) return std::nullopt;
    name.remove_prefix(1);
  }
  const std::optional<std::uint32_t> number = take_number(name);
  if (!number.has_value() || !name.empty()) return std::nullopt;
  if (hash.has_value() && *hash != hash_of(*number)) return std::nullopt;
  return BlockNumber{*number};
}

std::uint32_t S3backerNames::hash_of(std::uint32_t block) {
  std::uint32_t hash = block;
  for (std::uint32_t n = 12; n > 0; --n) hash = ((hash >> 8U) ^ hash) * 0x6bU + n;
  return hash;
}

}  // namespace nbdstack
