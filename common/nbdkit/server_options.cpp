#include "common/nbdkit/server_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string_view>
#include <utility>

#include "common/nbdkit/option_table.hpp"

namespace nbdstack {
namespace {

// Returns the whole name of an option that may be abbreviated, with a ':' if it has a value.
std::string_view whole_name(std::string_view name) {
  for (const char* end : {",", ":,", ""}) {
    const std::size_t found = kOptionNames.find(fmt::format(",{}{}", name, end));
    if (found == std::string_view::npos) continue;
    const std::string_view rest = kOptionNames.substr(found + 1);
    return rest.substr(0, rest.find(','));
  }
  return name;
}

// Reads a command line word by word.
class OptionReader {
 public:
  explicit OptionReader(const std::vector<std::string>& words) : words_(words) {}

  std::vector<GivenOption> read() {
    const bool ends_at_plugin = std::getenv("POSIXLY_CORRECT") != nullptr;
    for (; next_ < words_.size() && words_[next_] != "--"; ++next_) {
      const std::string_view word = words_[next_];
      if (word.starts_with("--")) {
        read_name(word.substr(2));
      } else if (word.starts_with('-') && word.size() > 1) {
        read_letters(word.substr(1));
      } else if (ends_at_plugin) {
        break;
      }
    }
    return std::move(options_);
  }

 private:
  void read_name(std::string_view word) {
    const std::size_t equals = word.find('=');
    std::string_view name = whole_name(word.substr(0, equals));
    std::string value;
    if (name.ends_with(':')) {
      name.remove_suffix(1);
      value = equals == std::string_view::npos ? next_word() : std::string(word.substr(equals + 1));
    }
    options_.push_back({std::string(name), value});
  }

  void read_letters(std::string_view letters) {
    for (std::size_t i = 0; i < letters.size(); ++i) {
      const std::string letter(1, letters[i]);
      if (kOptionLetters.find(letter + ':') == std::string_view::npos) {
        options_.push_back({letter, ""});
        continue;
      }
      const std::string_view behind = letters.substr(i + 1);
      options_.push_back({letter, behind.empty() ? next_word() : std::string(behind)});
      return;
    }
  }

  std::string next_word() { return ++next_ < words_.size() ? words_[next_] : std::string(); }

  const std::vector<std::string>& words_;
  std::size_t next_ = 0;
  std::vector<GivenOption> options_;
};

// This process's words, without its name; nullopt if they cannot be read.
std::optional<std::vector<std::string>> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  if (words.empty()) return std::nullopt;
  words.erase(words.begin());
  return words;
}

std::optional<bool> is_readonly_here() {
  const auto words = command_line();
  return words.has_value() ? std::optional(is_readonly(*words)) : std::nullopt;
}

}  // namespace

std::vector<GivenOption> read_options(const std::vector<std::string>& words) {
  return OptionReader(words).read();
}

std::vector<GivenOption> options_of_server() {
  return read_options(command_line().value_or(std::vector<std::string>()));
}

bool is_readonly(const std::vector<std::string>& words) {
  const std::vector<GivenOption> options = read_options(words);
  return std::any_of(options.begin(), options.end(), [](const GivenOption& option) {
    return option.name == "r" || option.name.starts_with("re");
  });
}

bool is_readonly_server() {
  return is_readonly_here().value_or(false);
}

bool may_be_readonly_server() {
  return is_readonly_here().value_or(true);
}

bool may_end_with_last_connection() {
  const std::vector<GivenOption> options = options_of_server();
  return std::any_of(options.begin(), options.end(), [](const GivenOption& option) {
    return option.value.find("exitlast") != std::string::npos;
  });
}

namespace {

// Filters of nbdkit and ours that show the content of the layer below, if any.
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

// Takes the path of a filter's file, or its short name.
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

}  // namespace

bool may_change_the_disk(const std::vector<std::string>& words, std::string_view own) {
  std::vector<GivenOption> filters = read_options(words);
  std::erase_if(filters, [](const GivenOption& option) { return option.name != "filter"; });
  const auto ours = std::find_if(filters.begin(), filters.end(), [&](const GivenOption& option) {
    return name_of(option.value) == own;
  });
  return !std::all_of(
      ours == filters.end() ? filters.begin() : ours, filters.end(), [](const GivenOption& option) {
        const std::string_view name = name_of(option.value);
        return std::find(kShowTheSame.begin(), kShowTheSame.end(), name) != kShowTheSame.end();
      });
}

bool may_change_the_disk_below(std::string_view own) {
  return may_change_the_disk(command_line().value_or(std::vector<std::string>()), own);
}

}  // namespace nbdstack
