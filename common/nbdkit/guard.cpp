#include "common/nbdkit/guard.hpp"

#include <csignal>

#include "common/log.hpp"
#include "common/params/secrets.hpp"
#include "common/quoted_name.hpp"

namespace nbdstack {

void report(const char* message) noexcept {
  try {
    nbdkit_error("%s", one_line(message).c_str());
  } catch (const std::exception&) {
    nbdkit_error("out of memory");
  }
}

void prepare_process() {
  std::signal(SIGXFSZ, SIG_IGN);
  log::set_sink({.error = report, .debug = [](const char* message) {
                   nbdkit_debug("%s", one_line(message).c_str());
                 }});
  set_secret_reader(nbdkit_read_password);
}

}  // namespace nbdstack
