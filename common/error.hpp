// The one error type of nbdstack.
//
// Everything that fails throws Error: an errno, which is what an NBD client gets to see, and a
// message, which is what the server's log shows. A message names the parameter, object or file
// concerned and, where there is one, the way out. No exception of any kind leaves a callback of
// nbdkit: common/nbdkit turns Error into (errno, nbdkit_error).
#pragma once

#include <fmt/core.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace nbdstack {

class Error : public std::runtime_error {
 public:
  // `code` is an errno and never 0: nbdkit aborts on a failure without one.
  Error(int code, const std::string& message)
      : std::runtime_error(message), code_(code == 0 ? EIO : code) {}

  // A failure whose reason somebody else has logged already (the layer below does so before it
  // returns). It carries the errno up and prints nothing again.
  static Error reported(int code) { return Error(code, std::string()); }

  [[nodiscard]] int code() const { return code_; }
  [[nodiscard]] bool is_reported() const { return *what() == '\0'; }
  // For a message about what came of this failure.
  [[nodiscard]] const char* reason() const {
    return is_reported() ? "see the message above" : what();
  }

 private:
  int code_;
};

// "pwrite /var/tmp/x: No space left on device", from the errno that a system call left behind.
template <typename... Args>
Error system_error(int code, fmt::format_string<Args...> format, Args&&... args) {
  return Error(code, fmt::format(format, std::forward<Args>(args)...) + ": " +
                         std::generic_category().message(code));
}

}  // namespace nbdstack
