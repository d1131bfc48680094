#include "common/nbdkit/server_options.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string_view>

namespace nbdstack {
namespace {

// nbdkit's options of one letter that have a value: what follows them in a word is that.
constexpr std::string_view kWithValue = "DegipPtuU";

// Long options may be cut short. Only --run and what it may be cut to begin like the others, and
// those have a second letter of their own.
bool may_be_long_readonly(std::string_view word) {
  return word.starts_with("--r") && !word.starts_with("--ru");
}

bool may_be_short_readonly(std::string_view word) {
  for (const char letter : word.substr(1)) {
    if (letter == 'r') return true;
    if (kWithValue.find(letter) != std::string_view::npos) return false;
  }
  return false;
}

}  // namespace

bool may_be_readonly(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--") return false;
    if (word.size() < 2 || word.front() != '-') continue;
    if (word[1] == '-' ? may_be_long_readonly(word) : may_be_short_readonly(word)) return true;
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

}  // namespace

bool may_be_readonly_server() {
  std::vector<std::string> words = command_line();
  if (words.empty()) return true;
  words.erase(words.begin());
  return may_be_readonly(words);
}

bool may_end_with_last_connection() {
  const std::vector<std::string> words = command_line();
  return std::any_of(words.begin(), words.end(), [](const std::string& word) {
    return word.find("exitlast") != std::string::npos;
  });
}

}  // namespace nbdstack
