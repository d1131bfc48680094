#include "tools/top/terminal.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "common/error.hpp"

namespace nbdstack {
namespace {

constexpr const char* kEnter = "\033[?1049h\033[?25l";  // the alternate screen, without a cursor
constexpr const char* kLeave = "\033[?25h\033[?1049l";
constexpr std::size_t kLeastColumns = 60;
constexpr std::size_t kLeastRows = 2;
constexpr char kControlC = 3;

void write_out(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw system_error(errno, "write to the terminal");
  }
}

}  // namespace

Terminal::Terminal() {
  ::sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) ::sigaddset(&signals_, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  signal_descriptor_ = File(::signalfd(-1, &signals_, SFD_CLOEXEC), "signals");
  if (!signal_descriptor_.is_open()) throw system_error(errno, "signalfd");
  termios state{};
  if (::tcgetattr(STDIN_FILENO, &state) == 0) {
    before_ = state;
    has_input_ = true;
    state.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &state);
  }
  write_out(kEnter);
}

Terminal::~Terminal() {
  std::fputs(kLeave, stdout);
  std::fflush(stdout);
  if (before_) ::tcsetattr(STDIN_FILENO, TCSANOW, &*before_);
}

ScreenSize Terminal::size() {
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == -1 || window.ws_col == 0) return {};
  return {.columns = std::max<std::size_t>(window.ws_col, kLeastColumns),
          .rows = std::max<std::size_t>(window.ws_row, kLeastRows)};
}

void Terminal::show(const std::string& text) const {
  write_out(text);
}

Terminal::Event Terminal::wait_for(std::chrono::milliseconds duration) {
  const auto end = std::chrono::steady_clock::now() + duration;
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Event::timeout;
    std::array<pollfd, 2> waiting{{{signal_descriptor_.descriptor(), POLLIN, 0},
                                   {has_input_ ? STDIN_FILENO : -1, POLLIN, 0}}};
    const int ready = ::poll(waiting.data(), waiting.size(), static_cast<int>(left.count()));
    if (ready == -1 && errno != EINTR) throw system_error(errno, "poll");
    if (ready <= 0) continue;
    if (waiting[0].revents != 0) return event_of_signal();
    if (const Event event = event_of_key(); event != Event::timeout) return event;
  }
}

Terminal::Event Terminal::event_of_signal() const {
  signalfd_siginfo signal{};
  if (::read(signal_descriptor_.descriptor(), &signal, sizeof signal) != sizeof signal) {
    throw system_error(errno, "read a signal");
  }
  return signal.ssi_signo == SIGWINCH ? Event::resized : Event::quit;
}

// Returns Event::timeout for a key that means nothing.
Terminal::Event Terminal::event_of_key() {
  char key = 0;
  const ssize_t length = ::read(STDIN_FILENO, &key, 1);
  if (length <= 0) {
    has_input_ = false;
    return length == 0 ? Event::quit : Event::timeout;
  }
  return key == 'q' || key == 'Q' || key == kControlC ? Event::quit : Event::timeout;
}

}  // namespace nbdstack
