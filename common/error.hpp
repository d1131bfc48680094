// The one error type of nbdstack.
//
// Every failure throws Error: an errno, which the NBD client receives, and a message for the
// server's log. A message names the parameter, object or file concerned and, if there is one, the
// way out. No exception of any kind leaves a callback of nbdkit: common/nbdkit turns Error into
// (errno, nbdkit_error).
#pragma once

#include <fmt/core.h>

#include <cerrno>
#include <cstdint>
#include <optional>
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

  // A failure whose reason the layer below has logged before it returned. It carries the errno up
  // and logs nothing again.
  static Error reported(int code) { return Error(code, std::string()); }

  // Names by a number what is damaged or missing, such as a block. The log tells of each by itself
  // (common/fault/fault.hpp), while other failures of one kind are told once.
  [[nodiscard]] Error about(std::uint64_t subject) const {
    Error error = *this;
    error.subject_ = subject;
    return error;
  }

  [[nodiscard]] int code() const { return code_; }
  [[nodiscard]] std::optional<std::uint64_t> subject() const { return subject_; }
  [[nodiscard]] bool is_reported() const { return *what() == '\0'; }
  // For a message about the consequence of this failure.
  [[nodiscard]] const char* reason() const {
    return is_reported() ? "see the message above" : what();
  }

 private:
  int code_;
  std::optional<std::uint64_t> subject_;
};

// Returns "pwrite /var/tmp/x: No space left on device", with the errno that a system call has set.
template <typename... Args>
Error system_error(int code, fmt::format_string<Args...> format, Args&&... args) {
  return Error(code, fmt::format(format, std::forward<Args>(args)...) + ": " +
                         std::generic_category().message(code));
}

}  // namespace nbdstack
