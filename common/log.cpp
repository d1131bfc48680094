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
void write_error(const std::string& message) {
  current().error(message.c_str());
}
void write_debug(const std::string& message) {
  current().debug(message.c_str());
}

}  // namespace nbdstack::log
