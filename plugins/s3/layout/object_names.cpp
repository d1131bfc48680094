#include "plugins/s3/layout/object_names.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "common/error.hpp"
#include "common/parse_number.hpp"
#include "common/quoted_name.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kNumberDigits = 16;

bool is_control(char c) {
  return (c >= 0 && c < ' ') || c == 0x7f;
}

bool is_lower_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

}  // namespace

std::string normalised_key(std::string_view key) {
  std::string normalised;
  const auto refuse_key = [given = std::string(key)](const char* reason) {
    throw Error(EINVAL, fmt::format("key: '{}' {}", quotable(given), reason));
  };
  if (std::any_of(key.begin(), key.end(), is_control)) refuse_key("has control characters");
  while (!key.empty()) {
    const std::string_view part = key.substr(0, key.find('/'));
    key.remove_prefix(std::min(key.size(), part.size() + 1));
    if (part.empty()) continue;
    if (part == "." || part == "..") refuse_key("is a path with '.' or '..', and no key");
    if (!normalised.empty()) normalised += '/';
    normalised += part;
  }
  return normalised;
}

std::string ObjectNames::block(BlockNumber block) const {
  return fmt::format("{}{:016x}", prefix_, block.value);
}

std::string ObjectNames::descriptor() const {
  return prefix_ + "nbdstack-volume.json";
}

std::optional<BlockNumber> ObjectNames::parse_block(std::string_view name) const {
  if (!name.starts_with(prefix_)) return std::nullopt;
  const std::string_view digits = name.substr(prefix_.size());
  BlockNumber block;
  if (digits.size() != kNumberDigits || !std::all_of(digits.begin(), digits.end(), is_lower_hex) ||
      !parse_number(digits, block.value, 16)) {
    return std::nullopt;
  }
  return block;
}

}  // namespace nbdstack
