// What the fuzzers share: inputs as texts and bytes, and what becomes of a property that does not
// hold.
//
// A fuzzer calls parsers with what libFuzzer makes up, and states what has to hold of whatever they
// accept. Nothing but Error may come out of a parser; memory and time are bounded by libFuzzer's
// own limits (CMakeLists.txt).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack::fuzz {

// What a parser logs about an input is not looked at, and would be most of what is printed.
inline const bool kLogIsQuiet = [] {
  log::set_sink({[](const char*) {}, [](const char*) {}});
  return true;
}();

// Ends the fuzzer, which keeps the input.
inline void must(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "This must hold, and does not: %s\n", property);
  std::abort();
}

inline std::string text_of(std::span<const std::uint8_t> input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// What the parser makes of its input; nothing: it has refused it, and said why.
template <typename Parse>
auto accepted(Parse&& parse) -> std::optional<decltype(parse())> {
  try {
    return parse();
  } catch (const Error& error) {
    must(*error.what() != '\0', "an error says what is wrong");
    return std::nullopt;
  }
}

// The same of what returns nothing.
template <typename Action>
bool succeeds(Action&& action) {
  return accepted([&] {
           action();
           return true;
         })
      .has_value();
}

// The part of `text` before the next `separator`, which is taken off it; all of it where there is
// none.
inline std::string_view take_until(std::string_view& text, std::string_view separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + separator.size());
  return part;
}

inline std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  while (!text.empty()) parts.emplace_back(take_until(text, separator));
  return parts;
}

// Calls fn() while one byte of `bytes`, chosen by `choice`, is another one.
template <typename Fn>
void with_damage(std::span<std::byte> bytes, std::uint64_t choice, Fn&& fn) {
  if (bytes.empty()) return;
  std::byte& damaged = bytes[choice / 255 % bytes.size()];
  const std::byte former = damaged;
  damaged ^= static_cast<std::byte>(choice % 255 + 1);
  fn();
  damaged = former;
}

}  // namespace nbdstack::fuzz
