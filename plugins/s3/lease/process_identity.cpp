#include "plugins/s3/lease/process_identity.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "common/error.hpp"
#include "common/io/directory.hpp"

namespace nbdstack {
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

std::string first_line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string own_pid_namespace() {
  std::error_code failure;
  const auto target = std::filesystem::read_symlink("/proc/self/ns/pid", failure);
  return failure ? std::string() : target.string();
}

struct ProcessStatus {
  char state = 0;
  std::uint64_t start_time = 0;
};

// Reads /proc/PID/stat, see proc(5): the name in parentheses may contain anything, so fields are
// counted from its end.
std::optional<ProcessStatus> status_of(std::int64_t pid) {
  constexpr int kFieldsBetween = 18;  // state is field 3, the start time field 22
  const std::string line = first_line_of(fmt::format("/proc/{}/stat", pid));
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  ProcessStatus status;
  std::string skipped;
  fields >> status.state;
  for (int i = 0; i < kFieldsBetween; ++i) fields >> skipped;
  fields >> status.start_time;
  return fields ? std::optional(status) : std::nullopt;
}

// Its parent has not waited for it yet, but none of its threads runs any more. (The first thread
// may end before the others: the process is in state Z then, too.)
bool is_only_a_zombie(std::int64_t pid, const ProcessStatus& status) {
  if (status.state != 'Z' && status.state != 'X') return false;
  try {
    return names_in(fmt::format("/proc/{}/task", pid)).size() == 1;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

ProcessIdentity LocalProcesses::self() const {
  const std::int64_t pid = getpid();
  const auto status = status_of(pid);
  return {.host_name = host_name(),
          .pid = pid,
          .start_time = status.has_value() ? status->start_time : 0,
          .boot_id = first_line_of("/proc/sys/kernel/random/boot_id"),
          .pid_namespace = own_pid_namespace()};
}

bool LocalProcesses::is_gone(const ProcessIdentity& process) const {
  const ProcessIdentity here = self();
  if (process.pid <= 0 || process.pid > std::numeric_limits<pid_t>::max() ||
      process.start_time == 0 || here.boot_id.empty() || here.pid_namespace.empty() ||
      process.boot_id != here.boot_id || process.pid_namespace != here.pid_namespace ||
      process.host_name != here.host_name) {
    return false;
  }
  // /proc alone does not suffice: it may hide the processes of other users (hidepid).
  if (kill(static_cast<pid_t>(process.pid), 0) != 0 && errno == ESRCH) return true;
  const auto status = status_of(process.pid);
  if (!status.has_value()) return false;
  return status->start_time != process.start_time || is_only_a_zombie(process.pid, *status);
}

}  // namespace nbdstack
