#include "common/io/key_value_text.hpp"

#include <fmt/core.h>

#include <charconv>
#include <random>

namespace nbdstack {
namespace {

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c > ' ' && c < '\x7f' && c != '%') {
      result += c;
    } else {
      result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return result;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const auto [end, failure] = std::from_chars(&text[i + 1], &text[i + 1] + 2, value, 16);
    if (failure != std::errc() || end != &text[i + 1] + 2) return std::nullopt;
    result += static_cast<char>(value);
    i += 2;
  }
  return result;
}

}  // namespace

std::string to_key_value_text(const std::vector<std::pair<std::string, std::string>>& values) {
  std::string text;
  for (const auto& [key, value] : values) text += fmt::format("{}={}\n", key, escaped(value));
  return text;
}

std::optional<KeyValues> parse_key_value_text(std::string_view text) {
  KeyValues values;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const std::size_t equals = line.find('=');
    if (end == std::string_view::npos || equals == std::string_view::npos) return std::nullopt;
    const auto value = unescaped(line.substr(equals + 1));
    if (!value) return std::nullopt;
    values.emplace(line.substr(0, equals), *value);
    text.remove_prefix(end + 1);
  }
  return values;
}

std::string random_uuid() {
  std::random_device random;
  std::string digits;
  for (int i = 0; i < 4; ++i) digits += fmt::format("{:08x}", random());
  return digits;
}

}  // namespace nbdstack
