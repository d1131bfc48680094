// The command line of nbdstack-top.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/command/usage_error.hpp"
#include "tools/cost/prices.hpp"

namespace nbdstack {

struct TopOptions {
  enum class Action : std::uint8_t { show, help, version };

  Action action = Action::show;
  std::vector<std::string> places;  // directories of stacks
  std::chrono::milliseconds interval{2000};
  std::optional<unsigned> count;  // nothing to run until it is ended
  Prices prices;
};

// Throws UsageError, or Error if the prices cannot be read.
TopOptions parse_top_options(int argc, char** argv);

// Returns the text of --help.
std::string top_help();

}  // namespace nbdstack
