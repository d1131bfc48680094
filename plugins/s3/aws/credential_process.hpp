// credential_process: a program of the user's that prints credentials.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/environment.hpp"

namespace nbdstack {

// The programs of a server cannot prompt a user: one that runs longer probably waits for an answer.
inline constexpr std::chrono::seconds kCredentialProcessLimit{60};

// Splits a command line into arguments, as a POSIX shell and AWS tools do (Python's shlex.split):
// blanks separate, '..' is literal, within ".." a backslash escapes " and \ only, elsewhere it
// escapes anything. There is no shell, so variables, ~ and wildcards have no meaning. Throws
// Error(EINVAL) for an open quote, a backslash at the end and an empty command.
std::vector<std::string> split_command(const std::string& command);

// Runs the command of `profile` and reads its output. Throws Error(EACCES) that names profile and
// program and, if the program failed, has its exit code and the first line of its stderr. The
// arguments and the output are secrets, which no message has.
Credentials credentials_of_process(const std::string& profile, const std::string& command,
                                   const Environment& environment);

}  // namespace nbdstack
