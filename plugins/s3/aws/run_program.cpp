#include "plugins/s3/aws/run_program.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "common/error.hpp"
#include "common/io/file.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kOutput_bytes_max = std::size_t{64} << 10U;

struct Pipe {
  explicit Pipe(const std::string& name) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw system_error(errno, "pipe to {}", name);
    reader = File(ends[0], name);
    writer = File(ends[1], name);
  }
  File reader;
  File writer;
};

// The arguments of posix_spawn, which the destructor frees.
class SpawnPlan {
 public:
  SpawnPlan(const File& output, const File& errors) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, output.descriptor(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, errors.descriptor(), STDERR_FILENO);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attributes_, &all);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }

  [[nodiscard]] pid_t start(const std::vector<std::string>& arguments) const {
    std::vector<char*> pointers;
    pointers.reserve(arguments.size() + 1);
    for (const std::string& each : arguments) pointers.push_back(const_cast<char*>(each.c_str()));
    pointers.push_back(nullptr);
    pid_t child = -1;
    const int code =
        posix_spawnp(&child, pointers[0], &actions_, &attributes_, pointers.data(), environ);
    if (code != 0) throw system_error(code, "cannot run {}", arguments.front());
    return child;
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

// A system call by number: glibc 2.36 declares pidfd_open() in a way that C++ cannot link.
int open_process(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

// A running program. The destructor kills it and its group if it still runs.
class Child {
 public:
  Child(pid_t pid, const std::string& name) : pid_(pid), handle_(open_process(pid), name) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ < 0) return;
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);  // in case it has left its group
    int status = 0;
    (void)reap(status);
  }

  // Becomes readable when the program has ended.
  [[nodiscard]] int descriptor() const { return handle_.descriptor(); }

  int wait() {
    int status = 0;
    if (!reap(status)) throw system_error(errno, "wait for {}", handle_.path());
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  [[nodiscard]] bool reap(int& status) const {
    pid_t waited = -1;
    do {
      waited = waitpid(pid_, &status, 0);
    } while (waited == -1 && errno == EINTR);
    return waited != -1;
  }

  pid_t pid_;
  File handle_;
};

// Returns false at the end of the data.
bool read_some(const File& from, std::string& into) {
  std::array<char, 4096> buffer{};
  const ssize_t count = ::read(from.descriptor(), buffer.data(), buffer.size());
  if (count == -1 && errno == EINTR) return true;
  if (count <= 0) return false;
  into.append(buffer.data(), static_cast<std::size_t>(count));
  if (into.size() > kOutput_bytes_max) {
    throw Error(EFBIG, fmt::format("{} says more than {} bytes", from.path(), kOutput_bytes_max));
  }
  return true;
}

// Reads both pipes to their end and waits for the end of the program.
void follow(const Child& child, const File& output, const File& errors, TimePoint deadline,
            std::chrono::milliseconds limit, ProcessOutcome& outcome) {
  std::array<pollfd, 3> watched{{{output.descriptor(), POLLIN, 0},
                                 {errors.descriptor(), POLLIN, 0},
                                 {child.descriptor(), POLLIN, 0}}};
  // poll() ignores negative descriptors.
  while (std::any_of(watched.begin(), watched.end(), [](const pollfd& it) { return it.fd >= 0; })) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const int ready = left.count() <= 0
                          ? 0
                          : ::poll(watched.data(), watched.size(), static_cast<int>(left.count()));
    if (ready == 0) {
      throw Error(ETIMEDOUT,
                  fmt::format("{} did not end within {} s", output.path(), limit.count() / 1000.0));
    }
    if (ready < 0) continue;  // a signal
    if (watched[0].revents != 0 && !read_some(output, outcome.output)) watched[0].fd = -1;
    if (watched[1].revents != 0 && !read_some(errors, outcome.errors)) watched[1].fd = -1;
    if (watched[2].revents != 0) watched[2].fd = -1;
    for (pollfd& each : watched) each.revents = 0;
  }
}

}  // namespace

ProcessOutcome run_program(const std::vector<std::string>& arguments,
                           std::chrono::milliseconds limit) {
  const TimePoint deadline = std::chrono::steady_clock::now() + limit;
  const std::string& name = arguments.front();
  Pipe output(name);
  Pipe errors(name);
  Child child(SpawnPlan(output.writer, errors.writer).start(arguments), name);
  output.writer = File();
  errors.writer = File();
  ProcessOutcome outcome;
  follow(child, output.reader, errors.reader, deadline, limit, outcome);
  outcome.exit_code = child.wait();
  return outcome;
}

}  // namespace nbdstack
