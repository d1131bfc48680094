// Numbers in texts from elsewhere: parameters, headers, records, names.
#pragma once

#include <charconv>
#include <concepts>
#include <string_view>
#include <system_error>

namespace nbdstack {

// Sets `value` and returns true if the whole of `text` is a number that fits it: no blanks, no sign
// but '-' where the type has one. Otherwise returns false, and `value` is what it was.
template <std::integral Number>
[[nodiscard]] bool parse_number(std::string_view text, Number& value, int base = 10) {
  Number number{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (failure != std::errc() || end != text.data() + text.size()) return false;
  value = number;
  return true;
}

}  // namespace nbdstack
