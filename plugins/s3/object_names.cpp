#include "plugins/s3/object_names.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace nbdstack {
namespace {

constexpr std::size_t kNumberDigits = 16;

bool is_lower_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

}  // namespace

std::string ObjectNames::block(BlockNumber block) const {
  return fmt::format("{}{:016x}", prefix_, block.value);
}

std::string ObjectNames::descriptor() const {
  return prefix_ + "nbdstack-volume.json";
}

std::optional<BlockNumber> ObjectNames::parse_block(std::string_view name) const {
  if (!name.starts_with(prefix_)) return std::nullopt;
  const std::string_view digits = name.substr(prefix_.size());
  if (digits.size() != kNumberDigits || !std::all_of(digits.begin(), digits.end(), is_lower_hex)) {
    return std::nullopt;
  }
  BlockNumber block;
  std::from_chars(digits.data(), digits.data() + digits.size(), block.value, 16);
  return block;
}

}  // namespace nbdstack
