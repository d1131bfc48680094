// Names that a client or a service has chosen, made fit for a line of the log.
//
// An export's name may hold line ends, terminal controls or thousands of bytes: put into a message
// as it is, it could forge other lines of the log or hide them.
#pragma once

#include <string>
#include <string_view>

namespace nbdstack {

// The name between single quotes. Bytes outside of printable ASCII, quotes and backslashes are
// written as \xNN, and a name of more than 64 bytes is cut and its length told.
std::string quoted_name(std::string_view name);

// A text from elsewhere made fit for a message: its first line, 200 characters at most, printable.
std::string quotable(const std::string& text);

// A message with whatever somebody else's text may have brought into it: line ends and terminal
// controls are written as \xNN. The boundary to nbdkit does this to all that it logs.
std::string one_line(std::string_view message);

}  // namespace nbdstack
