#include "common/params/parameters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>

#include "common/error.hpp"
#include "common/params/secrets.hpp"
#include "common/params/values.hpp"

namespace nbdstack {
namespace {

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

std::vector<std::string_view> ParameterTable::names() const {
  std::vector<std::string_view> names;
  std::transform(rows_.begin(), rows_.end(), std::back_inserter(names),
                 [](const Parameter& row) -> std::string_view { return row.name; });
  return names;
}

Parameter size_row(std::string name, Set<std::uint64_t> set_size, const SizeRange& range,
                   std::string default_text, std::string help) {
  auto set = [name, set_size = std::move(set_size), range](const std::string& value) {
    const std::uint64_t size = parse_size(name, value);
    check_size(name, size, range);
    set_size(size);
  };
  return {std::move(name),         "SIZE",        std::move(help), describe(range),
          std::move(default_text), std::move(set)};
}

Parameter number_row(std::string name, Set<unsigned> set_number, unsigned minimum, unsigned maximum,
                     std::string default_text, std::string help) {
  const bool bounded = maximum != std::numeric_limits<unsigned>::max();
  const std::string range = bounded       ? fmt::format("{} to {}", minimum, maximum)
                            : minimum > 0 ? fmt::format("at least {}", minimum)
                                          : std::string();
  auto set = [name, set_number = std::move(set_number), minimum, maximum,
              range](const std::string& value) {
    const unsigned number = parse_unsigned(name, value);
    if (number == 0 && minimum == 1) {
      throw Error(EINVAL, fmt::format("{} must be greater than zero", name));
    }
    if (number < minimum || number > maximum) {
      throw Error(EINVAL, fmt::format("{} is {}: it must be {}", name, number, range));
    }
    set_number(number);
  };
  return {std::move(name), "N", std::move(help), range, std::move(default_text), std::move(set)};
}

Parameter duration_row(std::string name, Set<std::uint64_t> set_ms, std::uint64_t default_ms,
                       std::string help) {
  auto set = [name, set_ms = std::move(set_ms)](const std::string& value) {
    set_ms(parse_duration_ms(name, value));
  };
  const std::string initial = format_duration(default_ms);
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
