#include "tools/stacks/exposition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>

#include "common/metrics/registry.hpp"

namespace nbdstack {
namespace {

bool is_name_character(char c, bool is_first) {
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return is_letter || (!is_first && c >= '0' && c <= '9');
}

// Takes the name that `rest` begins with off it. Returns an empty text if there is none.
std::string_view take_name(std::string_view& rest) {
  std::size_t length = 0;
  while (length < rest.size() && is_name_character(rest[length], length == 0)) ++length;
  const std::string_view name = rest.substr(0, length);
  rest.remove_prefix(length);
  return name;
}

bool take(std::string_view& rest, std::string_view wanted) {
  if (!rest.starts_with(wanted)) return false;
  rest.remove_prefix(wanted.size());
  return true;
}

// Takes a quoted value off `rest`, from behind its first quotation mark to its last.
bool take_quoted(std::string_view& rest, std::string& value) {
  while (!rest.empty()) {
    char c = rest.front();
    rest.remove_prefix(1);
    if (c == '"') return true;
    if (c == '\\') {
      if (rest.empty()) return false;
      c = rest.front();
      rest.remove_prefix(1);
      if (c == 'n') {
        c = '\n';
      } else if (c != '"' && c != '\\') {
        return false;
      }
    }
    value += c;
  }
  return false;
}

// Takes `{a="x",b="y"}`, or nothing, off `rest`.
bool take_labels(std::string_view& rest, Series& series) {
  if (!take(rest, "{")) return true;
  do {
    const std::string name(take_name(rest));
    const bool is_known = std::any_of(series.labels.begin(), series.labels.end(),
                                      [&](const auto& label) { return label.first == name; });
    if (name.empty() || is_known || !take(rest, "=\"")) return false;
    if (!take_quoted(rest, series.labels.emplace_back(name, "").second)) return false;
  } while (take(rest, ","));
  return take(rest, "}");
}

bool parse_value(std::string_view text, double& value) {
  if (text == "+Inf") {
    value = std::numeric_limits<double>::infinity();
    return true;
  }
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc() && end == text.data() + text.size();
}

bool is_series_of(const Family& family, std::string_view name) {
  if (family.type != "histogram") return name == family.name;
  if (!take(name, family.name)) return false;
  return name == "_bucket" || name == "_sum" || name == "_count";
}

class Parser {
 public:
  bool parse(std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      if (end == std::string_view::npos || !parse_line(text.substr(0, end))) return false;
      text.remove_prefix(end + 1);
    }
    return help_of_.empty();
  }

  std::vector<Family> families;

 private:
  bool parse_line(std::string_view line) {
    const bool is_printable =
        std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; });
    if (!is_printable) return false;
    if (take(line, "# HELP ")) return parse_help(line);
    if (take(line, "# TYPE ")) return parse_type(line);
    return parse_series(line);
  }

  bool parse_help(std::string_view line) {
    if (!help_of_.empty()) return false;
    help_of_ = take_name(line);
    if (help_of_.empty() || !take(line, " ")) return false;
    help_ = line;
    return help_.find('\\') == std::string::npos;
  }

  bool parse_type(std::string_view line) {
    const std::string name(take_name(line));
    if (name.empty() || name != help_of_ || !names_.insert(name).second) return false;
    if (line != " counter" && line != " gauge" && line != " histogram") return false;
    families.push_back({name, std::string(line.substr(1)), help_, {}});
    help_of_.clear();
    return true;
  }

  bool parse_series(std::string_view line) {
    if (families.empty() || !help_of_.empty()) return false;
    Series series;
    series.name = take_name(line);
    if (!is_series_of(families.back(), series.name)) return false;
    if (!take_labels(line, series) || !take(line, " ")) return false;
    series.value_text = line;
    if (!parse_value(line, series.value) || !keys_.insert(series.key()).second) return false;
    families.back().series.push_back(std::move(series));
    return true;
  }

  std::string help_of_;  // the family whose HELP was read, and whose TYPE was not
  std::string help_;
  std::set<std::string> names_;
  std::set<std::string> keys_;
};

}  // namespace

std::string_view Series::label(std::string_view label_name) const {
  const auto label = std::find_if(labels.begin(), labels.end(),
                                  [&](const auto& one) { return one.first == label_name; });
  return label == labels.end() ? std::string_view() : std::string_view(label->second);
}

std::string Series::key() const {
  Labels all;
  for (const auto& [label_name, text] : labels) all.emplace_back(label_name, text);
  std::sort(all.begin(), all.end());
  return name + label_text(all);
}

std::optional<std::vector<Family>> parse_exposition(std::string_view text) {
  Parser parser;
  if (!parser.parse(text)) return std::nullopt;
  return std::move(parser.families);
}

std::string printable(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const bool is_printable = c >= ' ' && c <= '~';
    text +=
        is_printable ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

const Family* find_family(const std::vector<Family>& families, std::string_view name) {
  const auto family = std::find_if(families.begin(), families.end(),
                                   [&](const Family& one) { return one.name == name; });
  return family == families.end() ? nullptr : &*family;
}

std::string text_of(const Family& family) {
  std::string text = fmt::format("# HELP {} {}\n# TYPE {} {}\n", family.name, family.help,
                                 family.name, family.type);
  for (const Series& series : family.series) {
    Labels labels;
    for (const auto& [name, value] : series.labels) labels.emplace_back(name, value);
    text += fmt::format("{}{} {}\n", series.name, label_text(labels), series.value_text);
  }
  return text;
}

}  // namespace nbdstack
