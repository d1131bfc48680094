#include "common/params/secrets.hpp"

#include <fmt/core.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <system_error>

#include "common/error.hpp"
#include "common/log.hpp"
#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

using OpenFile = std::unique_ptr<FILE, int (*)(FILE*)>;
using Owned = std::unique_ptr<char, decltype(&std::free)>;

// Reads the first line of `file`, without its line end. `file` is null if it could not be opened.
int read_line(FILE* file, const std::string& where, char** secret) {
  std::size_t size = 0;
  const ssize_t length = file == nullptr ? -1 : ::getline(secret, &size, file);
  if (length < 0) {
    log::error("could not read a password from {}: {}", where,
               errno == 0 ? "there is nothing" : std::generic_category().message(errno));
    std::free(*secret);
    *secret = nullptr;
    return -1;
  }
  if (length > 0 && (*secret)[length - 1] == '\n') (*secret)[length - 1] = '\0';
  return 0;
}

// The terminal does not show what is typed while this exists.
class NoEcho {
 public:
  NoEcho() : changed_(::tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!changed_) return;
    std::fputs("password: ", stderr);
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;
  ~NoEcho() {
    if (!changed_) return;
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    std::fputs("\n", stderr);
  }

 private:
  termios before_{};
  bool changed_;
};

int read_from_descriptor(std::string_view digits, char** secret) {
  int descriptor = -1;
  if (!parse_number(digits, descriptor) || descriptor < 0) {
    log::error("a password that begins with - must be read from a file: +FILE");
    return -1;
  }
  if (descriptor <= STDERR_FILENO) {
    log::error("a password cannot be read from descriptor {}: use one above 2", descriptor);
    return -1;
  }
  const OpenFile file(::fdopen(descriptor, "r"), &std::fclose);
  return read_line(file.get(), fmt::format("descriptor {}", descriptor), secret);
}

int read_standalone(const char* value, char** secret) {
  errno = 0;
  if (std::strcmp(value, "-") == 0) {
    const NoEcho no_echo;
    return read_line(stdin, "standard input", secret);
  }
  if (*value == '-') return read_from_descriptor(value + 1, secret);
  if (*value == '+') {
    const OpenFile file(std::fopen(value + 1, "re"), &std::fclose);
    return read_line(file.get(), value + 1, secret);
  }
  *secret = ::strdup(value);
  return *secret == nullptr ? -1 : 0;
}

SecretReader reader = read_standalone;

}  // namespace

void set_secret_reader(SecretReader other) {
  reader = other;
}

std::string read_secret(const std::string& name, const std::string& value) {
  char* secret = nullptr;
  if (reader(value.c_str(), &secret) == -1) {
    throw Error(EINVAL, fmt::format("{}: the secret could not be read", name));
  }
  return Owned(secret, &std::free).get();
}

}  // namespace nbdstack
