#include "common/log.hpp"

#include <cstdio>

namespace nbdstack::log {
namespace {

void error_to_stderr(const char* message) {
  std::fprintf(stderr, "error: %s\n", message);
}
void discard(const char* /*message*/) {}

Sink& current() {
  static Sink sink{error_to_stderr, discard};
  return sink;
}

}  // namespace

void set_sink(const Sink& sink) {
  current() = sink;
}
void write_error(const char* message) noexcept {
  current().error(message);
}
void write_debug(const char* message) noexcept {
  current().debug(message);
}

}  // namespace nbdstack::log
