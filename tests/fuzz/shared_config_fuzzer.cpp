// AWS's files of profiles (shared_config.hpp), command lines in them (credential_process.hpp), and
// endpoints (endpoint.hpp).
//
//   any text       is a file of profiles, or refused by its line, of which nothing is quoted
//   any settings   are found under their profile's name as they were written
//   any words      come out of a command line as they were quoted into it
//   an endpoint    that is accepted is accepted again as it is written out, and says the same
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "plugins/s3/aws/credential_process.hpp"
#include "plugins/s3/aws/endpoint.hpp"
#include "plugins/s3/aws/shared_config.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

Environment with_files(const std::string& credentials, const std::string& config) {
  Environment world;
  world.find_variable = [](const std::string&) { return std::nullopt; };
  world.read_file = [credentials, config](const std::string& path) {
    return std::optional(path.ends_with("/config") ? config : credentials);
  };
  return world;
}

void check_any(const std::string& text) {
  try {
    const SharedConfig config = SharedConfig::read(with_files(text, text));
    const Profile* const profile = config.find("default");
    if (profile == nullptr) return;
    const std::string endpoint = config.service_setting(*profile, "s3", "endpoint_url");
    must(endpoint.size() <= text.size(), "a setting stands in its file");
  } catch (const Error& error) {
    constexpr auto kReasons = std::to_array<std::string_view>(
        {"a section's name has no end", "neither a section nor a setting of one"});
    must(std::any_of(kReasons.begin(), kReasons.end(),
                     [&](auto reason) { return std::string_view(error.what()).ends_with(reason); }),
         "a message quotes nothing of a file that may hold secrets");
  }
}

// Of a line, what the format has room for in a name or a value.
std::string word_of(std::string_view line, std::string_view without) {
  std::string word;
  for (const char c : line) {
    if (without.find(c) == std::string_view::npos) word += c;
  }
  const std::size_t first = word.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return {};
  return word.substr(first, word.find_last_not_of(" \t\r\n") + 1 - first);
}

void check_settings(const std::vector<std::string>& lines) {
  if (lines.size() < 3) return;
  const std::string name = word_of(lines[0], "]'\"");
  const std::string key = word_of(lines[1], "=[#;ABCDEFGHIJKLMNOPQRSTUVWXYZ");
  const std::string value = word_of(lines[2], "");
  if (name.empty() || key.empty()) return;
  const std::string written = fmt::format("{} = {}\n", key, value);
  const SharedConfig config =
      SharedConfig::read(with_files(fmt::format("[{}]\nother = 1\n{}", name, written),
                                    fmt::format("[profile '{}']\n{}", name, written)));
  const Profile* const profile = config.find(name);
  must(profile != nullptr, "a profile is found by its name");
  must(profile->setting(key) == value && profile->in_config.at(key) == value,
       "a setting is found as it was written");
}

// As a shell wants it.
std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

void check_words(const std::vector<std::string>& words) {
  if (words.empty() || words.front().empty()) return;
  std::string command;
  for (const std::string& word : words) command += quoted(word) + " \t";
  must(split_command(command) == words, "words come out of a command line as they were quoted");
}

void check_endpoint(const std::string& text) {
  const auto endpoint = accepted([&] { return Endpoint::parse(text); });
  if (endpoint.has_value()) {
    const BucketAddress address(*endpoint, "b", false);
    const auto again =
        accepted([&] { return Endpoint::parse(address.origin() + endpoint->base_path); });
    must(again && again->host == endpoint->host && again->port == endpoint->port &&
             again->tls == endpoint->tls && again->base_path == endpoint->base_path,
         "an endpoint that is written out says the same");
    must(address.origin().find_first_of(" \r\n@?#") == std::string::npos,
         "an endpoint is nothing but scheme, host and port");
  }
  accepted([&] { return Endpoint::of_region(text).host; });
}

void check_key(const std::string& text) {
  const auto key = accepted([&] { return normalised_key(text); });
  must(!key.has_value() || normalised_key(*key) == *key,
       "a key that was normalised stays as it is");
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  const std::string text = fuzz::text_of({data, size});
  const std::vector<std::string> lines = fuzz::split(text, "\n");
  fuzz::check_any(text);
  fuzz::check_settings(lines);
  fuzz::accepted([&] { return split_command(text); });
  fuzz::check_words(lines);
  fuzz::check_endpoint(text);
  fuzz::check_key(text);
  return 0;
}
