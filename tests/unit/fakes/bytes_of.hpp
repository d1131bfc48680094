// A text as the bytes that it consists of, without a NUL behind them: a view of it, or a copy.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace nbdstack::testing {

inline std::span<const std::byte> bytes_view(std::string_view text) {
  return std::as_bytes(std::span(text));
}

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = bytes_view(text);
  return {bytes.begin(), bytes.end()};
}

}  // namespace nbdstack::testing
