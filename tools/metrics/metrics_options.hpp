// The command line of nbdstack-metrics.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "common/command/usage_error.hpp"
#include "tools/cost/prices.hpp"

namespace nbdstack {

struct MetricsOptions {
  enum class Action : std::uint8_t { print, listen, write_file, help, version };

  Action action = Action::print;
  std::vector<std::string> places;  // directories of stacks
  std::string listen;               // empty for the socket that is inherited
  std::string file;
  std::chrono::seconds interval{15};
  Prices prices;
};

// Throws UsageError, or Error if the prices cannot be read.
MetricsOptions parse_metrics_options(int argc, char** argv);

// Returns the text of --help.
std::string metrics_help();

}  // namespace nbdstack
