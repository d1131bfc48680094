#include "common/params/values.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cinttypes>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string_view>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr std::uint64_t kSize_max = std::numeric_limits<std::int64_t>::max();

char lower(char letter) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
}

// Returns the factor of a suffix, or 0 if it is unknown.
std::uint64_t factor_of(char suffix) {
  constexpr std::string_view kPowers = "bkmgtpe";
  if (lower(suffix) == 's') return 512;  // sectors
  const std::size_t power = kPowers.find(lower(suffix));
  return power == std::string_view::npos ? 0 : std::uint64_t{1} << (10 * power);
}

struct DurationUnit {
  std::string_view suffix;
  double factor_ms;
};
constexpr DurationUnit kDurationUnits[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"", 1000}};

}  // namespace

std::uint64_t parse_size(const std::string& name, const std::string& value) {
  char* end = nullptr;
  errno = 0;
  const std::intmax_t number = std::strtoimax(value.c_str(), &end, 10);
  const std::string_view suffix = end;
  const std::uint64_t factor = suffix.empty() ? 1 : factor_of(suffix.front());
  const bool is_number = end != value.c_str() && errno == 0 && number >= 0;
  if (!is_number || suffix.size() > 1 || factor == 0 ||
      static_cast<std::uint64_t>(number) > kSize_max / factor) {
    throw Error(EINVAL, fmt::format("{}: '{}' is not a size", name, value));
  }
  return static_cast<std::uint64_t>(number) * factor;
}

std::string format_size(std::uint64_t size_bytes) {
  constexpr std::string_view kSuffixes = "KMGTPE";
  std::size_t steps = 0;
  while (steps < kSuffixes.size() && size_bytes != 0 && size_bytes % 1024 == 0) {
    size_bytes /= 1024;
    ++steps;
  }
  return steps == 0 ? fmt::format("{}", size_bytes)
                    : fmt::format("{}{}", size_bytes, kSuffixes[steps - 1]);
}

unsigned parse_unsigned(const std::string& name, const std::string& value) {
  char* end = nullptr;
  errno = 0;
  const unsigned long number = std::strtoul(value.c_str(), &end, 0);
  const bool is_signed = value.find('-') != std::string::npos;
  if (is_signed || end == value.c_str() || *end != '\0' || errno != 0 || number > UINT_MAX) {
    throw Error(EINVAL, fmt::format("{}: '{}' is not a number", name, value));
  }
  return static_cast<unsigned>(number);
}

bool parse_bool(const std::string& name, const std::string& value) {
  constexpr std::array<std::string_view, 6> kTrue{"1", "true", "t", "yes", "y", "on"};
  constexpr std::array<std::string_view, 6> kFalse{"0", "false", "f", "no", "n", "off"};
  std::string word = value;
  std::transform(word.begin(), word.end(), word.begin(), lower);
  if (std::find(kTrue.begin(), kTrue.end(), word) != kTrue.end()) return true;
  if (std::find(kFalse.begin(), kFalse.end(), word) != kFalse.end()) return false;
  throw Error(EINVAL, fmt::format("{}: '{}' is neither true nor false", name, value));
}

std::uint64_t parse_duration_ms(const std::string& name, const std::string& value) {
  double number = 0;
  const char* const end = value.data() + value.size();
  const auto [rest, problem] = std::from_chars(value.data(), end, number);
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  const auto* const unit = std::find_if(std::begin(kDurationUnits), std::end(kDurationUnits),
                                        [&](const auto& known) { return known.suffix == suffix; });
  constexpr double kLongest_ms = 1e12;  // thirty years; keeps deadlines from overflowing
  if (problem != std::errc() || unit == std::end(kDurationUnits) || !std::isfinite(number) ||
      number < 0 || number * unit->factor_ms > kLongest_ms) {
    throw Error(EINVAL, fmt::format("{}: '{}' is not a time: use seconds, such as 10 or 0.5, or a "
                                    "number with ms, s, m or h",
                                    name, value));
  }
  return static_cast<std::uint64_t>(std::llround(number * unit->factor_ms));
}

std::string format_duration(std::uint64_t duration_ms) {
  return duration_ms % 1000 == 0 ? fmt::format("{}", duration_ms / 1000)
                                 : fmt::format("{}", static_cast<double>(duration_ms) / 1000);
}

std::string absolute_path(const std::string& name, const std::string& value) {
  if (value.empty()) throw Error(EINVAL, fmt::format("{}: '{}' is not a path", name, value));
  return value.front() == '/' ? value : std::filesystem::current_path().string() + "/" + value;
}

}  // namespace nbdstack
