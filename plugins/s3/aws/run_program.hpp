// Runs a program to its end and keeps its output.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace nbdstack {

// The end of a program.
struct ProcessOutcome {
  int exit_code = 0;   // 128 + the signal's number if it was killed
  std::string output;  // of stdout
  std::string errors;  // of stderr
};

// The program's stdin is /dev/null; its signals are as in a fresh process, whatever the calling
// thread blocks. It leads a process group of its own, which is killed at `limit` and when more than
// 64 KiB come on one of stdout and stderr; the call returns at once then. Throws Error that names
// the program (never its arguments, which may hold secrets): ETIMEDOUT, EFBIG, or the errno of the
// failed start.
ProcessOutcome run_program(const std::vector<std::string>& arguments,
                           std::chrono::milliseconds limit);

}  // namespace nbdstack
