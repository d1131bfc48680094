// Which process this is, in words that a later one can check on the same machine: a pid comes back
// after a while, a pid with its start time does not before the next boot, and a pid means something
// only within its pid namespace (a container has its own).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace nbdstack {

struct ProcessIdentity {
  std::string host_name;
  std::int64_t pid = 0;          // 0: not known yet, the server is starting
  std::uint64_t start_time = 0;  // clock ticks after boot; 0 where pid is
  std::string boot_id;           // empty: not known
  std::string pid_namespace;     // "pid:[4026531836]"; empty: not known

  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

// The machine's processes, behind a seam for tests. Any thread.
class Processes {
 public:
  Processes() = default;
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;
  virtual ~Processes() = default;

  // Never throws for what the machine does not tell: that stays empty.
  [[nodiscard]] virtual ProcessIdentity self() const = 0;

  // True only where it is certain: the process ran on this machine, since its last start, among the
  // processes that can be seen from here, and is none of them any more. False says nothing.
  //
  // A virtual machine that was cloned while it ran has the boot id of its original: where both kept
  // the host name as well, each takes the other's processes for its own that have ended.
  [[nodiscard]] virtual bool is_gone(const ProcessIdentity& process) const = 0;
};

// By /proc and kill(2) with signal 0.
class LocalProcesses final : public Processes {
 public:
  [[nodiscard]] ProcessIdentity self() const override;
  [[nodiscard]] bool is_gone(const ProcessIdentity& process) const override;
};

}  // namespace nbdstack
