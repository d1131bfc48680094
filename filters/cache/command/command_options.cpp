#include "filters/cache/command/command_options.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "common/params/parameters.hpp"

namespace nbdstack {
namespace {

using Action = CacheCommandOptions::Action;

constexpr const char* kSeeHelp = "nbdstack-cache --help shows how";

Action action_of(const std::string& word) {
  if (word == "show") return Action::show;
  if (word == "export") return Action::put_out;
  if (word == "discard") return Action::discard;
  throw UsageError(fmt::format("there is no command {}: {}", word, kSeeHelp));
}

// Has the form of the filter's own parameter.
ParameterTable parameters_to(CacheCommandOptions& options) {
  return ParameterTable(
      {passphrase_parameter("cache-encrypt", options.passphrase,
                            "the passphrase of an encrypted directory, for export")});
}

bool is_parameter(const std::string& word, const ParameterTable& parameters) {
  const std::size_t equals = word.find('=');
  return equals != std::string::npos &&
         parameters.set(std::string_view(word).substr(0, equals), word.substr(equals + 1));
}

}  // namespace

CacheCommandOptions parse_cache_command(const std::vector<std::string>& words) {
  const auto is_among = [&](const char* word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  CacheCommandOptions options;
  if (is_among("--help")) return options;
  options.action = Action::version;
  if (is_among("--version")) return options;
  const ParameterTable parameters = parameters_to(options);
  std::vector<std::string> names;
  for (const std::string& word : words) {
    if (word == "--yes") {
      options.yes = true;
    } else if (word.starts_with("--")) {
      throw UsageError(fmt::format("there is no option {}: {}", word, kSeeHelp));
    } else if (!is_parameter(word, parameters)) {
      names.push_back(word);
    }
  }
  if (names.empty()) throw UsageError(fmt::format("what is to be done? {}", kSeeHelp));
  options.action = action_of(names[0]);
  const std::size_t wanted = options.action == Action::put_out ? 3 : 2;
  if (names.size() != wanted || (options.yes && options.action != Action::discard)) {
    throw UsageError(fmt::format("{} needs {}, and nothing else: {}", names[0],
                                 wanted == 3 ? "a cache directory and a file" : "a cache directory",
                                 kSeeHelp));
  }
  options.directory = names[1];
  if (wanted == 3) options.file = names[2];
  return options;
}

std::string cache_command_help() {
  CacheCommandOptions unused;
  return "Usage: nbdstack-cache show DIRECTORY\n"
         "       nbdstack-cache export DIRECTORY FILE [cache-encrypt=SECRET]\n"
         "       nbdstack-cache discard [--yes] DIRECTORY\n\n"
         "Looks into a cache-dir of nbdstack's cache filter while no server uses it.\n"
         "  show     says of which disk it is the cache, and lists what was written to that disk\n"
         "           and never written back\n"
         "  export   does the same, and puts that into a new file, each part where it belongs in\n"
         "           the disk\n"
         "  discard  makes it a directory that any disk may use\n"
         "Exit status: 0 it is done, 1 some of what was never written back is damaged, 2 it could\n"
         "not be done.\n\n"
         "Options:\n"
         "  --yes         discard also what was never written back\n"
         "  --help        print this, and nothing else\n"
         "  --version     print the version, and nothing else\n\n"
         "Parameter, as the filter has it:\n" +
         parameters_to(unused).help();
}

}  // namespace nbdstack
