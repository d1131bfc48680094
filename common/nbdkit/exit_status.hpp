// The status with which the server ends.
//
// nbdkit ends with 0 whatever happened while it stopped, and cleanup() has no way to say otherwise.
// Ending the process there would keep the plugin from giving back what it owns.
#pragma once

namespace nbdstack {

// The process ends with EXIT_FAILURE when everything else that it does at its end is done.
void fail_at_exit();

}  // namespace nbdstack
