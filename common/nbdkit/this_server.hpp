// Identifies this server among all that ever run anywhere.
#pragma once

#include <string>

namespace nbdstack {

// Returns one text in all our shared libraries, and in the processes that nbdkit forks from one
// start.
const std::string& this_server();

}  // namespace nbdstack
