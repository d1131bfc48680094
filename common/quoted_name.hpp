// Makes names and texts that a client or a service has chosen fit for a line of the log.
//
// An export's name may hold line ends, terminal controls or thousands of bytes: put into a message
// unchanged, it could forge other lines of the log or hide them.
#pragma once

#include <string>
#include <string_view>

namespace nbdstack {

// Returns the name between single quotes. Bytes outside of printable ASCII, quotes and backslashes
// are written as \xNN, and a name of more than 64 bytes is cut and its length added.
std::string quoted_name(std::string_view name);

// Returns the first line of a text, 200 characters at most, printable.
std::string quotable(const std::string& text);

// Returns the message with line ends and terminal controls, which a text from elsewhere may have
// brought into it, written as \xNN. The boundary to nbdkit does this to every message that it logs.
std::string one_line(std::string_view message);

}  // namespace nbdstack
