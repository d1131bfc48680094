// The command line of nbdstack-cache: what to do, a cache directory, and what that needs.
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
  std::string file;  // of put_out
  bool yes = false;  // of discard
  std::optional<std::string> passphrase;
};

// `words`: without the program's name. Throws UsageError, or Error where the passphrase cannot be
// read.
CacheCommandOptions parse_cache_command(const std::vector<std::string>& words);

// What --help says.
std::string cache_command_help();

}  // namespace nbdstack
