#include "common/quoted_name.hpp"

#include <fmt/format.h>
#include <algorithm>

namespace nbdstack {
namespace {

constexpr std::size_t kShown_bytes_max = 64;

std::string hex(char c) {
  return fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
}

// Returns whether `c` is a control of ASCII.
bool is_control(char c) {
  return (c >= '\0' && c < ' ') || c == '\x7f';
}

// Returns whether both bytes are a control beyond ASCII, in UTF-8.
bool is_second_of_control(char first, char c) {
  const auto byte = static_cast<unsigned char>(c);
  return first == '\xc2' && byte >= 0x80 && byte <= 0x9f;
}

}  // namespace

std::string quoted_name(std::string_view name) {
  std::string text = "'";
  for (const char c : name.substr(0, kShown_bytes_max)) {
    const bool plain = c >= ' ' && c <= '~' && c != '\'' && c != '\\';
    if (plain) {
      text += c;
    } else {
      text += hex(c);
    }
  }
  text += '\'';
  if (name.size() > kShown_bytes_max) text += fmt::format("... ({} bytes)", name.size());
  return text;
}

std::string one_line(std::string_view message) {
  std::string text;
  text.reserve(message.size());
  char before = '\0';
  for (const char c : message) {
    if (is_control(c) || is_second_of_control(before, c)) {
      text += hex(c);
    } else {
      text += c;
    }
    before = c;
  }
  return text;
}

std::string quotable(const std::string& text) {
  constexpr std::size_t kLength_max = 200;
  std::string line = text.substr(0, text.find_first_of("\r\n"));
  const bool cut = line.size() > kLength_max;
  line.resize(std::min(line.size(), kLength_max));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return cut ? line + "..." : line;
}

}  // namespace nbdstack
