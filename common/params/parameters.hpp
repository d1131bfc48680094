// The parameters of a filter or plugin as a table.
//
// A row has the parameter's name, the form of its value, its default and its meaning. Parsing,
// error texts and --help all come from it, and a test compares the man pages with --help. The
// variables behind a row belong to the filter and hold their defaults before parsing starts, so the
// default shown is the default used.
//
// If nbdkit has a filter of the same name, errors are in nbdkit's words.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nbdstack {

struct Parameter {
  std::string name;
  std::string value;         // the form of a value in the help, after '=': "SIZE", "a|b|c"
  std::string help;          // one line; range and default are added to it
  std::string range_text;    // empty if there is no range to show
  std::string default_text;  // empty if the parameter is required or has no default
  std::function<void(const std::string&)> set;  // throws Error naming the parameter
};

class ParameterTable {
 public:
  ParameterTable() = default;
  explicit ParameterTable(std::vector<Parameter> rows) : rows_(std::move(rows)) {}
  void add(Parameter row) { rows_.push_back(std::move(row)); }

  // Returns false if the table has no such parameter. Throws Error for a bad value.
  [[nodiscard]] bool set(std::string_view name, const std::string& value) const;

  [[nodiscard]] std::string help() const;
  [[nodiscard]] std::vector<std::string_view> names() const;

 private:
  std::vector<Parameter> rows_;
};

// --- The kinds of rows. Each writes to `target`, which outlives the table. ---

struct SizeRange {
  std::uint64_t minimum = 0;
  std::uint64_t maximum = std::numeric_limits<std::int64_t>::max();
  bool power_of_two = false;
};

template <typename Value>
using Set = std::function<void(Value)>;

// A number of bytes with nbdkit's suffixes (k, M, G, ...). The target is of any integral type that
// can hold the range's maximum, or an optional one.
Parameter size_row(std::string name, Set<std::uint64_t> set, const SizeRange& range,
                   std::string default_text, std::string help);
template <typename Target>
Parameter size_parameter(std::string name, Target& target, const SizeRange& range,
                         std::string default_text, std::string help) {
  auto set = [&target](std::uint64_t size) { target = static_cast<Target>(size); };
  return size_row(std::move(name), std::move(set), range, std::move(default_text), std::move(help));
}

Parameter number_row(std::string name, Set<unsigned> set, unsigned minimum, unsigned maximum,
                     std::string default_text, std::string help);
template <std::unsigned_integral Target>
Parameter number_parameter(std::string name, Target& target, unsigned minimum, unsigned maximum,
                           std::string help) {
  auto set = [&target](unsigned number) { target = number; };
  return number_row(std::move(name), std::move(set), minimum, maximum, std::to_string(target),
                    std::move(help));
}

// Seconds, possibly with a fraction ("0.5"), or a number with a suffix ms, s, m or h. A target that
// is no std::chrono duration counts milliseconds.
Parameter duration_row(std::string name, Set<std::uint64_t> set_ms, std::uint64_t default_ms,
                       std::string help);
template <typename Rep, typename Period>
Parameter duration_parameter(std::string name, std::chrono::duration<Rep, Period>& target,
                             std::string help) {
  using std::chrono::milliseconds;
  const auto initial = std::chrono::duration_cast<milliseconds>(target).count();
  auto set = [&target](std::uint64_t value_ms) { target = milliseconds(value_ms); };
  return duration_row(std::move(name), std::move(set), static_cast<std::uint64_t>(initial),
                      std::move(help));
}
inline Parameter duration_parameter(std::string name, std::uint64_t& target_ms, std::string help) {
  auto set = [&target_ms](std::uint64_t value_ms) { target_ms = value_ms; };
  return duration_row(std::move(name), std::move(set), target_ms, std::move(help));
}

Parameter bool_parameter(std::string name, bool& target, std::string help);
// As above; the target stays empty if the parameter is not given, and `default_text` tells the user
// what applies then.
Parameter bool_parameter(std::string name, std::optional<bool>& target, std::string default_text,
                         std::string help);

Parameter string_parameter(std::string name, std::string& target, std::string value,
                           std::string help);

// A file or directory, made absolute: the server leaves its directory later.
Parameter path_parameter(std::string name, std::string& target, std::string help);

// A secret, as secrets.hpp reads it. Its value never appears in a message.
Parameter password_parameter(std::string name, std::string& target, std::string help);
// As above, but an empty secret is an error. The target stays empty if the parameter is not given.
Parameter passphrase_parameter(std::string name, std::optional<std::string>& target,
                               std::string help);

// One of a few words.
template <typename Enum>
Parameter choice_parameter(std::string name, Enum& target,
                           std::vector<std::pair<std::string, Enum>> choices, std::string help);

// As above, without an enumeration: `select` gets the index of the word.
Parameter word_parameter(std::string name, std::vector<std::string> words, std::size_t initial,
                         std::function<void(std::size_t)> select, std::string help);

template <typename Enum>
Parameter choice_parameter(std::string name, Enum& target,
                           std::vector<std::pair<std::string, Enum>> choices, std::string help) {
  std::vector<std::string> words;
  std::size_t initial = 0;
  for (const auto& [word, meaning] : choices) {
    if (meaning == target) initial = words.size();
    words.push_back(word);
  }
  auto select = [&target, choices = std::move(choices)](std::size_t index) {
    target = choices[index].second;
  };
  return word_parameter(std::move(name), std::move(words), initial, std::move(select),
                        std::move(help));
}

}  // namespace nbdstack
