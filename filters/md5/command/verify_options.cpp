#include "filters/md5/command/verify_options.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace nbdstack {
namespace {

constexpr std::string_view kRequests = "--requests=";
constexpr std::size_t kRequests_max = 1024;

std::size_t parse_requests(std::string_view text) {
  std::size_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = failure == std::errc() && end == text.data() + text.size();
  if (!is_number || number < 1 || number > kRequests_max) {
    throw UsageError(
        fmt::format("--requests={} must be a number from 1 to {}", text, kRequests_max));
  }
  return number;
}

void take_option(std::string_view word, VerifyOptions& options) {
  if (word.starts_with(kRequests)) {
    options.requests = parse_requests(word.substr(kRequests.size()));
  } else if (word == "--json") {
    options.json = true;
  } else if (word == "--progress") {
    options.progress = true;
  } else {
    throw UsageError(
        fmt::format("there is no option {}: nbdstack-md5-verify --help shows them", word));
  }
}

}  // namespace

VerifyOptions parse_verify_options(const std::vector<std::string>& words) {
  VerifyOptions options;
  const auto is_among = [&](std::string_view word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  options.help = is_among("--help");
  options.version = is_among("--version");
  if (options.help || options.version) return options;
  std::vector<std::string> names;
  for (const std::string& word : words) {
    if (word.starts_with('-')) {
      take_option(word, options);
    } else {
      names.push_back(word);
    }
  }
  if (names.size() != 2) {
    throw UsageError(
        "an md5-file and an NBD URI are needed, and nothing else: "
        "nbdstack-md5-verify --help shows how");
  }
  options.md5_file = names[0];
  options.uri = names[1];
  return options;
}

std::string verify_help() {
  return "Usage: nbdstack-md5-verify [OPTION ...] MD5-FILE URI\n\n"
         "Reads every block of an NBD export that an md5-file of nbdstack's md5 filter knows, and\n"
         "names those that are not what was last written. Exit status: 0 nothing is damaged,\n"
         "1 something is damaged or cannot be read, 2 it could not be done.\n\n"
         "Options:\n"
         "  --requests=N  read with so many requests at a time [default: 16]\n"
         "  --json        print one JSON document instead of a line for each block\n"
         "  --progress    show how far it is also where that is no terminal\n"
         "  --help        print this, and nothing else\n"
         "  --version     print the version, and nothing else\n";
}

}  // namespace nbdstack
