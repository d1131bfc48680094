// The command line of nbdstack-cache: an action, a cache directory, and the action's options.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/command/usage_error.hpp"

namespace nbdstack {

struct CacheCommandOptions {
  enum class Action : std::uint8_t { show, put_out, discard, help, version };

  Action action = Action::help;
  std::string directory;
  std::string file;  // for put_out
  bool yes = false;  // for discard
  std::optional<std::string> passphrase;
};

// `words` are without the program's name. Throws UsageError, or Error if the passphrase cannot be
// read.
CacheCommandOptions parse_cache_command(const std::vector<std::string>& words);

// Returns the text of --help.
std::string cache_command_help();

}  // namespace nbdstack
