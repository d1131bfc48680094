#include "common/nbdkit/parameters.hpp"

#include <fmt/format.h>
#include <nbdkit-filter.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "common/error.hpp"

namespace nbdstack {
namespace {

using Owned = std::unique_ptr<char, decltype(&std::free)>;

std::string describe(const SizeRange& range) {
  const bool bounded = range.maximum != std::numeric_limits<std::int64_t>::max();
  std::string text = range.power_of_two ? "a power of 2" : "";
  const char* separator = text.empty() ? "" : ", ";
  if (bounded) {
    text += fmt::format("{}{} to {}", separator, format_size(range.minimum),
                        format_size(range.maximum));
  } else if (range.minimum > 0) {
    text += fmt::format("{}at least {}", separator, format_size(range.minimum));
  }
  return text;
}

void check_size(const std::string& name, std::uint64_t size, const SizeRange& range) {
  const bool inside = size >= range.minimum && size <= range.maximum;
  if (range.power_of_two && !(inside && std::has_single_bit(size))) {
    throw Error(EINVAL, fmt::format("{} is not a power of 2, or is too small or too large: "
                                    "it must be {}",
                                    name, describe(range)));
  }
  if (size < range.minimum) {
    throw Error(EINVAL, fmt::format("{} is too small: it must be {}", name, describe(range)));
  }
  if (size > range.maximum) {
    throw Error(EINVAL, fmt::format("{} is too large: it must be {}", name, describe(range)));
  }
}

struct DurationUnit {
  std::string_view suffix;
  double factor_ms;
};
constexpr DurationUnit kDurationUnits[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"", 1000}};

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

std::string help_line(const Parameter& row) {
  std::string text = row.help;
  if (!row.range_text.empty()) text += fmt::format(" ({})", row.range_text);
  if (!row.default_text.empty()) text += fmt::format(" [default: {}]", row.default_text);
  return fmt::format("{:<32} {}", row.name + "=" + row.value, text);
}

}  // namespace

bool ParameterTable::set(std::string_view name, const std::string& value) const {
  const auto row =
      std::find_if(rows_.begin(), rows_.end(), [&](const auto& each) { return each.name == name; });
  if (row == rows_.end()) return false;
  row->set(value);
  return true;
}

std::string ParameterTable::help() const {
  std::string text;
  for (const Parameter& row : rows_) {
    if (!text.empty()) text += '\n';
    text += help_line(row);
  }
  return text;
}

std::uint64_t parse_size(const std::string& name, const std::string& value) {
  const std::int64_t size = nbdkit_parse_size(value.c_str());
  if (size < 0) throw Error(EINVAL, fmt::format("{}: '{}' is not a size", name, value));
  return static_cast<std::uint64_t>(size);
}

bool parse_bool(const std::string& name, const std::string& value) {
  const int result = nbdkit_parse_bool(value.c_str());
  if (result < 0)
    throw Error(EINVAL, fmt::format("{}: '{}' is neither true nor false", name, value));
  return result != 0;
}

std::string absolute_path(const std::string& name, const std::string& value) {
  const Owned path(nbdkit_absolute_path(value.c_str()), &std::free);
  if (path == nullptr) throw Error(EINVAL, fmt::format("{}: '{}' is not a path", name, value));
  return path.get();
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

Parameter size_parameter(std::string name, std::uint64_t& target, const SizeRange& range,
                         std::string default_text, std::string help) {
  auto set = [name, &target, range](const std::string& value) {
    const std::uint64_t size = parse_size(name, value);
    check_size(name, size, range);
    target = size;
  };
  return {std::move(name),         "SIZE",        std::move(help), describe(range),
          std::move(default_text), std::move(set)};
}

Parameter number_parameter(std::string name, unsigned& target, unsigned minimum, unsigned maximum,
                           std::string help) {
  const bool bounded = maximum != std::numeric_limits<unsigned>::max();
  const std::string range = bounded       ? fmt::format("{} to {}", minimum, maximum)
                            : minimum > 0 ? fmt::format("at least {}", minimum)
                                          : std::string();
  auto set = [name, &target, minimum, maximum, range](const std::string& value) {
    unsigned number = 0;
    if (nbdkit_parse_unsigned(name.c_str(), value.c_str(), &number) == -1) {
      throw Error(EINVAL, fmt::format("{}: '{}' is not a number", name, value));
    }
    if (number == 0 && minimum == 1) {
      throw Error(EINVAL, fmt::format("{} must be greater than zero", name));
    }
    if (number < minimum || number > maximum) {
      throw Error(EINVAL, fmt::format("{} is {}: it must be {}", name, number, range));
    }
    target = number;
  };
  const std::string initial = fmt::format("{}", target);
  return {std::move(name), "N", std::move(help), range, initial, std::move(set)};
}

Parameter duration_parameter(std::string name, std::uint64_t& target_ms, std::string help) {
  auto set = [name, &target_ms](const std::string& value) {
    target_ms = parse_duration_ms(name, value);
  };
  const std::string initial = format_duration(target_ms);
  return {std::move(name), "SECONDS", std::move(help), "", initial, std::move(set)};
}

Parameter bool_parameter(std::string name, bool& target, std::string help) {
  auto set = [name, &target](const std::string& value) { target = parse_bool(name, value); };
  const std::string initial = target ? "true" : "false";
  return {std::move(name), "true|false", std::move(help), "", initial, std::move(set)};
}

Parameter bool_parameter(std::string name, std::optional<bool>& target, std::string default_text,
                         std::string help) {
  auto set = [name, &target](const std::string& value) { target = parse_bool(name, value); };
  return {std::move(name),         "true|false",  std::move(help), "",
          std::move(default_text), std::move(set)};
}

Parameter string_parameter(std::string name, std::string& target, std::string value,
                           std::string help) {
  auto set = [&target](const std::string& text) { target = text; };
  const std::string initial = target;
  return {std::move(name), std::move(value), std::move(help), "", initial, std::move(set)};
}

Parameter path_parameter(std::string name, std::string& target, std::string help) {
  auto set = [name, &target](const std::string& value) { target = absolute_path(name, value); };
  const std::string initial = target;
  return {std::move(name), "PATH", std::move(help), "", initial, std::move(set)};
}

namespace {

constexpr const char* kSecretValue = "SECRET|-|+FILE|-FD";

std::string read_secret(const std::string& name, const std::string& value) {
  char* password = nullptr;
  if (nbdkit_read_password(value.c_str(), &password) == -1) {
    throw Error(EINVAL, fmt::format("{}: the secret could not be read", name));
  }
  return Owned(password, &std::free).get();
}

}  // namespace

Parameter password_parameter(std::string name, std::string& target, std::string help) {
  auto set = [name, &target](const std::string& value) { target = read_secret(name, value); };
  return {std::move(name), kSecretValue, std::move(help), "", "", std::move(set)};
}

Parameter passphrase_parameter(std::string name, std::optional<std::string>& target,
                               std::string help) {
  auto set = [name, &target](const std::string& value) {
    std::string secret = read_secret(name, value);
    if (secret.empty()) throw Error(EINVAL, fmt::format("{}: it must not be empty", name));
    target = std::move(secret);
  };
  return {std::move(name), kSecretValue, std::move(help), "", "", std::move(set)};
}

Parameter word_parameter(std::string name, std::vector<std::string> words, std::size_t initial,
                         std::function<void(std::size_t)> select, std::string help) {
  const std::string choices = fmt::format("{}", fmt::join(words, "|"));
  const std::string first = words[initial];
  auto set = [name, words = std::move(words), choices,
              select = std::move(select)](const std::string& value) {
    const auto found = std::find(words.begin(), words.end(), value);
    if (found == words.end()) {
      throw Error(EINVAL, fmt::format("invalid {} parameter, should be {}", name, choices));
    }
    select(static_cast<std::size_t>(found - words.begin()));
  };
  return {std::move(name), choices, std::move(help), "", first, std::move(set)};
}

}  // namespace nbdstack
