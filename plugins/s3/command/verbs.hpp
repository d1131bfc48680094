// The verbs of nbdstack-s3: from a command line that was understood to what is printed.
//
// Results go to stdout; questions, progress and what is wrong to stderr.
#pragma once

#include "plugins/s3/command/command_line.hpp"

namespace nbdstack {

// The exit code: 0, or 1 where something is damaged. Throws Error for everything that was refused
// or failed.
int run_verb(const CommandLine& command);

}  // namespace nbdstack
