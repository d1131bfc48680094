#include "common/nbdkit/server_start.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "common/error.hpp"
#include "common/io/service_manager.hpp"
#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

// The words that S writes into the pipe, in this order; the reason of a failure follows its word.
constexpr char kBorn = 'B';
constexpr char kServes = 'S';
constexpr char kFailed = 'F';

enum class State : char { idle, ready, serving, ended };

State state = State::idle;
bool has_forked = false;  // P, when there is an S
bool is_child = false;    // S
void (*give_back)() = nullptr;
int read_end = -1;
int write_end = -1;

void report(const std::string& words) {
  // If the reader has ended, it needs no report.
  if (write_end != -1 && ::write(write_end, words.data(), words.size()) == -1) errno = 0;
}

void close_pipe() {
  for (int* end : {&read_end, &write_end}) {
    if (*end != -1) ::close(*end);
    *end = -1;
  }
}

void after_fork_in_parent() {
  if (state == State::ready) has_forked = true;
}

void after_fork_in_child() {
  if (state != State::ready) {
    // The child is not nbdkit's: its exit() is none of the server's.
    state = State::ended;
    return;
  }
  has_forked = false;
  is_child = true;
  report({kBorn});
}

// Waits until S serves or has ended.
std::string read_report() {
  ::close(write_end);
  write_end = -1;
  std::string words;
  std::array<char, 4096> buffer;
  while (words.size() < 2 || words[1] != kServes) {
    const ssize_t count = ::read(read_end, buffer.data(), buffer.size());
    if (count == -1 && errno == EINTR) continue;
    if (count <= 0) break;
    words.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return words;
}

// These clients have connected already, or will: P still holds the socket open.
void send_clients_away() {
  DIR* const descriptors = ::opendir("/proc/self/fd");
  if (descriptors == nullptr) return;
  while (const dirent* const entry = ::readdir(descriptors)) {
    int descriptor = -1;
    int is_listening = 0;
    socklen_t length = sizeof is_listening;
    if (!parse_number(entry->d_name, descriptor) ||
        ::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &length) == -1 ||
        is_listening == 0) {
      continue;
    }
    ::shutdown(descriptor, SHUT_RDWR);
    ::fcntl(descriptor, F_SETFL, O_NONBLOCK);
    int client = -1;
    while ((client = ::accept(descriptor, nullptr, nullptr)) != -1) ::close(client);
  }
  ::closedir(descriptors);
}

// Then S's log is shown nowhere. With --run it has a terminal, and nbdkit has waited for its end.
// Returns false, too, if there is no S because the fork failed.
bool is_in_background() {
  siginfo_t child{};
  return ::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void wait_for_child() {
  const std::string words = read_report();
  if (words.size() > 1 && words[1] == kServes) return;
  const bool has_server = is_in_background();
  // An S that was killed before its first word differs from one that never existed.
  if (words.empty() && !has_server) return give_back == nullptr ? void() : give_back();
  if (has_server) {
    std::fprintf(
        stderr, "nbdkit: error: %s\n",
        words.size() > 2 ? words.c_str() + 2 : "the server ended before it served: -f shows why");
  }
  std::fflush(nullptr);
  ::_exit(EXIT_FAILURE);
}

void at_process_exit() {
  if (state != State::ready && state != State::serving) return;
  if (has_forked) return wait_for_child();
  state = State::ended;
  if (give_back != nullptr) give_back();
  if (is_child) send_clients_away();
}

}  // namespace

void ServerStart::arm(void (*what_gives_back)()) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) == -1) throw system_error(errno, "pipe");
  read_end = ends[0];
  write_end = ends[1];
  give_back = what_gives_back;
  state = State::ready;
  // Both belong to this library: they disappear when it is unloaded.
  if (::pthread_atfork(nullptr, after_fork_in_parent, after_fork_in_child) != 0 ||
      std::atexit(at_process_exit) != 0) {
    throw Error(ENOMEM, "out of memory");
  }
}

void ServerStart::report_success() {
  has_forked = false;  // to no server: this process serves
  if (is_child) report({kServes});
  close_pipe();
  if (state == State::ready) state = State::serving;
  tell_service_manager("READY=1");
}

void ServerStart::report_failure(const std::string& reason) {
  has_forked = false;
  if (!is_child) return;
  report(kFailed + (reason.empty() ? "the server could not start; its log tells why" : reason));
}

void ServerStart::end() {
  state = State::ended;
}

}  // namespace nbdstack
