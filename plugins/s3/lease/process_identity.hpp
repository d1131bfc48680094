// Identifies a process in terms that a later process can check on the same machine: pids are
// reused, but not with the same start time before the next boot, and a pid is valid only within its
// pid namespace (a container has its own).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace nbdstack {

struct ProcessIdentity {
  std::string host_name;
  std::int64_t pid = 0;          // 0 if not known yet, because the server is starting
  std::uint64_t start_time = 0;  // clock ticks after boot; 0 if pid is 0
  std::string boot_id;           // empty if not known
  std::string pid_namespace;     // "pid:[4026531836]"; empty if not known

  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

// The machine's processes, behind an interface for tests. Any thread may call.
class Processes {
 public:
  Processes() = default;
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;
  virtual ~Processes() = default;

  // Does not throw if the machine does not provide a value, which is then empty.
  [[nodiscard]] virtual ProcessIdentity self() const = 0;

  // Returns true only if it is certain that the process ran on this machine, since its last start,
  // among the processes visible from here, and has ended. False means nothing.
  //
  // A virtual machine that was cloned while it ran has its original's boot id: if both also keep
  // the host name, each takes the other's processes for its own that have ended.
  [[nodiscard]] virtual bool is_gone(const ProcessIdentity& process) const = 0;
};

// By /proc and kill(2) with signal 0.
class LocalProcesses final : public Processes {
 public:
  [[nodiscard]] ProcessIdentity self() const override;
  [[nodiscard]] bool is_gone(const ProcessIdentity& process) const override;
};

}  // namespace nbdstack
