#include "common/quoted_name.hpp"

#include <fmt/format.h>

namespace nbdstack {
namespace {

constexpr std::size_t kShown_bytes_max = 64;

}  // namespace

std::string quoted_name(std::string_view name) {
  std::string text = "'";
  for (const char c : name.substr(0, kShown_bytes_max)) {
    const bool plain = c >= ' ' && c <= '~' && c != '\'' && c != '\\';
    if (plain) {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  text += '\'';
  if (name.size() > kShown_bytes_max) text += fmt::format("... ({} bytes)", name.size());
  return text;
}

}  // namespace nbdstack
