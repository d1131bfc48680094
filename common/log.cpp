#include "common/log.hpp"

#include <cstdio>
#include <exception>

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

// A message is lost if the sink has no memory for it.
void write_to(void (*sink)(const char*), const char* message) noexcept {
  try {
    sink(message);
  } catch (const std::exception&) {
  }
}

}  // namespace

void set_sink(const Sink& sink) {
  current() = sink;
}
void write_error(const char* message) noexcept {
  write_to(current().error, message);
}
void write_debug(const char* message) noexcept {
  write_to(current().debug, message);
}

}  // namespace nbdstack::log
