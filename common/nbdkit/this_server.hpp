// Which server this is, among all that ever run anywhere.
#pragma once

#include <string>

namespace nbdstack {

// The same in each of our shared libraries, and in the processes that nbdkit forks from one start.
const std::string& this_server();

}  // namespace nbdstack
