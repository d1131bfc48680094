// The log. Engines log through it and do not know nbdkit; the boundary sets the sink to
// nbdkit_debug and nbdkit_error when a filter or plugin is loaded. Until then, and in unit tests,
// errors are written to stderr, and debug messages nowhere.
//
// Nothing throws: messages are often about a failure, in a place that must not fail, and without
// memory left. A message that there is no memory to format is logged without its values.
#pragma once

#include <fmt/core.h>

#include <exception>
#include <utility>

namespace nbdstack::log {

// Any thread may call both.
struct Sink {
  void (*error)(const char* message);
  void (*debug)(const char* message);
};

// Set once, before any thread is started.
void set_sink(const Sink& sink);

void write_error(const char* message) noexcept;
void write_debug(const char* message) noexcept;

template <typename... Args>
void write(void (*to)(const char*) noexcept, fmt::format_string<Args...> format,
           Args&&... args) noexcept {
  try {
    to(fmt::format(format, std::forward<Args>(args)...).c_str());
  } catch (const std::exception&) {
    to(fmt::string_view(format).data());  // a literal, so it ends with a zero
  }
}

// For messages that the user must see although no request can carry them: a failed background
// write, a degraded mode, lost ownership.
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) noexcept {
  write<Args...>(write_error, format, std::forward<Args>(args)...);
}

// Shown with nbdkit -v. For rare paths; a message per block belongs behind a layer's debug flag.
template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) noexcept {
  write<Args...>(write_debug, format, std::forward<Args>(args)...);
}

}  // namespace nbdstack::log
