#include "common/nbdkit/guard.hpp"

#include "common/log.hpp"

namespace nbdstack {

void log_to_nbdkit() {
  log::set_sink({.error = [](const char* message) { nbdkit_error("%s", message); },
                 .debug = [](const char* message) { nbdkit_debug("%s", message); }});
}

}  // namespace nbdstack
