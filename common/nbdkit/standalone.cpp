// The functions of nbdkit that reading parameters takes (parameters.cpp), for a program of its own:
// they exist only inside of nbdkit, whose server a filter or plugin finds them in. Linked into
// nothing that nbdkit loads.
//
// Their meaning is that of nbdkit-plugin(3), so that a value means the same on both command lines.
// What is wrong with a secret is logged here, as nbdkit does, because the caller does not know;
// what is wrong with other values he says himself.
//
//   -      a line from the terminal, without echo; from standard input where that is none
//   +FILE  the first line of a file
//   -FD    the first line from a descriptor above 2, which is closed
#include <nbdkit-plugin.h>
#include <sys/types.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cinttypes>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "common/log.hpp"
#include "common/parse_number.hpp"

namespace {

namespace log = nbdstack::log;

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

std::string reason() {
  return std::generic_category().message(errno);
}

// The factor of a suffix; 0 for none that is known.
std::uint64_t factor_of(char suffix) {
  constexpr std::string_view kPowers = "bkmgtpe";
  const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(suffix)));
  if (lower == 's') return 512;  // sectors
  const std::size_t power = kPowers.find(lower);
  return power == std::string_view::npos ? 0 : std::uint64_t{1} << (10 * power);
}

// The first line of `file`, without its end.
int read_line(FILE* file, const std::string& where, char** password) {
  std::size_t size = 0;
  char* line = nullptr;
  errno = 0;
  const ssize_t length = ::getline(&line, &size, file);
  if (length < 0) {
    log::error("could not read a password from {}: {}", where,
               errno == 0 ? "there is nothing" : reason());
    std::free(line);
    return -1;
  }
  if (length > 0 && line[length - 1] == '\n') line[length - 1] = '\0';
  *password = line;
  return 0;
}

// The terminal says nothing of what is typed while this exists.
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

int read_from_terminal(char** password) {
  const NoEcho no_echo;
  return read_line(stdin, "standard input", password);
}

int read_from_descriptor(std::string_view digits, char** password) {
  int descriptor = -1;
  if (!nbdstack::parse_number(digits, descriptor) || descriptor < 0) {
    log::error("a password that begins with - must be read from a file: +FILE");
    return -1;
  }
  if (descriptor <= STDERR_FILENO) {
    log::error("a password cannot be read from descriptor {}: use one above 2", descriptor);
    return -1;
  }
  const File file(::fdopen(descriptor, "r"), &std::fclose);
  if (file == nullptr) {
    log::error("could not read a password from descriptor {}: {}", descriptor, reason());
    return -1;
  }
  return read_line(file.get(), "a descriptor", password);
}

int read_from_file(const char* path, char** password) {
  const File file(std::fopen(path, "re"), &std::fclose);
  if (file == nullptr) {
    log::error("could not read a password from {}: {}", path, reason());
    return -1;
  }
  return read_line(file.get(), path, password);
}

}  // namespace

std::int64_t nbdkit_parse_size(const char* str) {
  char* end = nullptr;
  errno = 0;
  const std::intmax_t number = std::strtoimax(str, &end, 10);
  if (end == str || errno != 0 || number < 0) return -1;
  if (*end == '\0') return number;
  const std::uint64_t factor = factor_of(*end);
  if (factor == 0 || end[1] != '\0') return -1;
  const bool too_large = static_cast<std::uint64_t>(number) > INT64_MAX / factor;
  return too_large ? -1 : number * static_cast<std::int64_t>(factor);
}

int nbdkit_parse_bool(const char* str) {
  constexpr std::array<std::string_view, 6> kTrue{"1", "true", "t", "yes", "y", "on"};
  constexpr std::array<std::string_view, 6> kFalse{"0", "false", "f", "no", "n", "off"};
  std::string word(str);
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  if (std::find(kTrue.begin(), kTrue.end(), word) != kTrue.end()) return 1;
  return std::find(kFalse.begin(), kFalse.end(), word) != kFalse.end() ? 0 : -1;
}

int nbdkit_parse_unsigned(const char* /*what*/, const char* str, unsigned* r) {
  char* end = nullptr;
  errno = 0;
  if (std::strchr(str, '-') != nullptr) return -1;
  const unsigned long number = std::strtoul(str, &end, 0);
  if (end == str || *end != '\0' || errno != 0 || number > UINT_MAX) return -1;
  *r = static_cast<unsigned>(number);
  return 0;
}

int nbdkit_read_password(const char* value, char** password) {
  if (std::strcmp(value, "-") == 0) return read_from_terminal(password);
  if (value[0] == '-') return read_from_descriptor(value + 1, password);
  if (value[0] == '+') return read_from_file(value + 1, password);
  *password = ::strdup(value);
  return *password == nullptr ? -1 : 0;
}

char* nbdkit_absolute_path(const char* path) {
  if (path == nullptr || *path == '\0') return nullptr;
  if (*path == '/') return ::strdup(path);
  const std::unique_ptr<char, decltype(&std::free)> here(::getcwd(nullptr, 0), &std::free);
  return here == nullptr ? nullptr : ::strdup((std::string(here.get()) + "/" + path).c_str());
}
