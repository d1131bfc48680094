// Where messages go. Engines log through here and do not know nbdkit; the boundary points the sink
// at nbdkit_debug and nbdkit_error when a filter or plugin is loaded. Until then, and in unit
// tests, errors go to stderr and debug messages nowhere.
#pragma once

#include <fmt/core.h>

#include <string>
#include <utility>

namespace nbdstack::log {

// Both are called from any thread.
struct Sink {
  void (*error)(const char* message);
  void (*debug)(const char* message);
};

// Set once, before any thread is started.
void set_sink(const Sink& sink);

void write_error(const std::string& message);
void write_debug(const std::string& message);

// For what the user must see although no request can carry it: a failed background write, a
// degraded mode, lost ownership.
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write_error(fmt::format(format, std::forward<Args>(args)...));
}

// Shown with nbdkit -v. For paths taken once in a while; a message per block belongs behind a debug
// flag of the layer.
template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write_debug(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nbdstack::log
