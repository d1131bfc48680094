// Runs the verbs of nbdstack-s3, from the parsed command line to the printed result.
//
// Results are printed on stdout; questions, progress and errors on stderr.
#pragma once

#include "plugins/s3/command/command_line.hpp"

namespace nbdstack {

// Returns the exit code: 0, or 1 if something is damaged. Throws Error for a refusal or failure.
int run_verb(const CommandLine& command);

}  // namespace nbdstack
