#include "common/nbdkit/server_options.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>

#include "common/nbdkit/option_table.hpp"

namespace nbdstack {
namespace {

struct Meaning {
  bool is_readonly = false;
  bool takes_next_word = false;
};

// Long options may be cut short, as far as only one is meant. Only --run and what it may be cut to
// begin like the others, and those have a second letter of their own.
Meaning meaning_of_name(std::string_view name) {
  if (name.starts_with('r') && !name.starts_with("ru")) return {.is_readonly = true};
  if (name.find('=') != std::string_view::npos) return {};
  const std::size_t found = kOptionNames.find("," + std::string(name));
  if (found == std::string_view::npos) return {};
  return {.takes_next_word = kOptionNames[kOptionNames.find(',', found + 1) - 1] == ':'};
}

Meaning meaning_of_letters(std::string_view letters) {
  for (std::size_t i = 0; i < letters.size(); ++i) {
    if (letters[i] == 'r') return {.is_readonly = true};
    if (kOptionLetters.find(std::string{letters[i], ':'}) != std::string_view::npos) {
      return {.takes_next_word = i + 1 == letters.size()};
    }
  }
  return {};
}

}  // namespace

bool is_readonly(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word == "--") return false;
    if (word.size() < 2 || word.front() != '-') continue;
    const Meaning meaning =
        word[1] == '-' ? meaning_of_name(word.substr(2)) : meaning_of_letters(word.substr(1));
    if (meaning.is_readonly) return true;
    if (meaning.takes_next_word) ++i;
  }
  return false;
}

namespace {

// Of this process, with its name.
std::vector<std::string> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

// Nothing where the machine does not tell.
std::optional<bool> is_readonly_here() {
  std::vector<std::string> words = command_line();
  if (words.empty()) return std::nullopt;
  words.erase(words.begin());
  return is_readonly(words);
}

}  // namespace

bool is_readonly_server() {
  return is_readonly_here().value_or(false);
}

bool may_be_readonly_server() {
  return is_readonly_here().value_or(true);
}

bool may_end_with_last_connection() {
  const std::vector<std::string> words = command_line();
  return std::any_of(words.begin(), words.end(), [](const std::string& word) {
    return word.find("exitlast") != std::string::npos;
  });
}

namespace {

// Filters of nbdkit and ours that pass on what the layer below holds, where they pass anything.
constexpr auto kShowTheSame = std::to_array<std::string_view>({"blocksize",    "blocksize-policy",
                                                               "cache",        "cacheextents",
                                                               "checkwrite",   "delay",
                                                               "error",        "exitlast",
                                                               "exitwhen",     "exportname",
                                                               "extentlist",   "fua",
                                                               "ip",           "limit",
                                                               "log",          "md5",
                                                               "multi-conn",   "nocache",
                                                               "noextents",    "nofilter",
                                                               "noparallel",   "nozero",
                                                               "pause",        "protect",
                                                               "rate",         "readahead",
                                                               "retry",        "retry-request",
                                                               "scan",         "stats",
                                                               "tls-fallback", "zeroblock"});

// What a filter's file is called, or its short name.
std::string_view name_of(std::string_view filter) {
  constexpr std::string_view kBefore = "nbdkit-";
  constexpr std::string_view kBehind = "-filter.so";
  filter.remove_prefix(filter.rfind('/') + 1);
  if (filter.starts_with(kBefore) && filter.ends_with(kBehind)) {
    filter.remove_prefix(kBefore.size());
    filter.remove_suffix(kBehind.size());
  }
  return filter;
}

// The filters of a command line, the outermost first. Options may be cut short.
std::vector<std::string_view> filters_of(const std::vector<std::string>& words) {
  constexpr std::string_view kOption = "--filter";
  constexpr std::string_view kShortest = "--fi";
  std::vector<std::string_view> filters;
  for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    const std::string_view word = words[i];
    const std::size_t equals = word.find('=');
    const std::string_view option = word.substr(0, equals);
    if (!option.starts_with(kShortest) || !kOption.starts_with(option)) continue;
    if (equals != std::string_view::npos) {
      filters.push_back(name_of(word.substr(equals + 1)));
    } else if (++i < words.size()) {
      filters.push_back(name_of(words[i]));
    }
  }
  return filters;
}

}  // namespace

bool may_change_the_disk(const std::vector<std::string>& words, std::string_view own) {
  const std::vector<std::string_view> filters = filters_of(words);
  const auto ours = std::find(filters.begin(), filters.end(), own);
  return !std::all_of(
      ours == filters.end() ? filters.begin() : ours, filters.end(), [](std::string_view filter) {
        return std::find(kShowTheSame.begin(), kShowTheSame.end(), filter) != kShowTheSame.end();
      });
}

bool may_change_the_disk_below(std::string_view own) {
  return may_change_the_disk(command_line(), own);
}

}  // namespace nbdstack
