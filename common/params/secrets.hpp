// Secrets as nbdkit reads them (nbdkit_read_password(3)):
//
//   -      a line from the terminal, without echo; from standard input if that is no terminal
//   +FILE  the first line of a file
//   -FD    the first line from a descriptor above 2, which is closed
//   else   the value itself
#pragma once

#include <string>

namespace nbdstack {

// As nbdkit_read_password() does: sets `secret`, for free(), or logs the failure and returns -1.
using SecretReader = int (*)(const char* value, char** secret);

// In a server nbdkit reads them: only it knows whether standard input is a client's connection.
void set_secret_reader(SecretReader reader);

// Logs a failure, and throws an Error that names the parameter. Neither shows the value.
std::string read_secret(const std::string& name, const std::string& value);

}  // namespace nbdstack
