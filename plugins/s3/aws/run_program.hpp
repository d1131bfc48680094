// Runs a program to its end and keeps what it said.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace nbdstack {

// How a program ended.
struct ProcessOutcome {
  int exit_code = 0;   // 128 + the signal's number for one that was killed
  std::string output;  // of stdout
  std::string errors;  // of stderr
};

// stdin is /dev/null; signals are as in a fresh process, whatever the calling thread blocks.
// The program is the leader of a process group of its own, which is killed at `limit` and when more
// than 64 KiB come on one of stdout and stderr; the call returns at once then. Throws Error that
// names the program (never its arguments, which may hold secrets): ETIMEDOUT, EFBIG, or the errno
// with which it could not be started.
ProcessOutcome run_program(const std::vector<std::string>& arguments,
                           std::chrono::milliseconds limit);

}  // namespace nbdstack
