#include "common/nbdkit/guard.hpp"

#include <csignal>

#include "common/log.hpp"

namespace nbdstack {

void prepare_process() {
  std::signal(SIGXFSZ, SIG_IGN);
  log::set_sink({.error = [](const char* message) { nbdkit_error("%s", message); },
                 .debug = [](const char* message) { nbdkit_debug("%s", message); }});
}

}  // namespace nbdstack
