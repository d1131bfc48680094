// credential_process: a program of the user's that prints credentials.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "plugins/s3/aws/credentials.hpp"
#include "plugins/s3/aws/environment.hpp"

namespace nbdstack {

// Nobody can be asked for anything in a server: what lasts longer waits for somebody.
inline constexpr std::chrono::seconds kCredentialProcessLimit{60};

// A command line as its arguments, as a POSIX shell would split it and as AWS tools do (Python's
// shlex.split): blanks separate, '..' is literal, within ".." a backslash escapes " and \ only,
// elsewhere it escapes anything. Variables, ~ and wildcards mean nothing: there is no shell. Throws
// Error(EINVAL) for a quote or backslash that nothing follows and for an empty command.
std::vector<std::string> split_command(const std::string& command);

// Runs the command of `profile` and reads what it prints. Throws Error(EACCES) that names profile
// and program, with the exit code and the first line of stderr where it failed. The program's
// arguments and its output are secrets and not said.
Credentials credentials_of_process(const std::string& profile, const std::string& command,
                                   const Environment& environment);

}  // namespace nbdstack
