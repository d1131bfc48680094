// Sets the status with which the server ends.
//
// nbdkit ends with 0 whatever happened while it stopped, and cleanup() cannot report a failure.
// Ending the process there would keep the plugin from releasing its resources.
#pragma once

namespace nbdstack {

// Makes the process end with EXIT_FAILURE, after everything else that it does at its end.
void fail_at_exit();

}  // namespace nbdstack
