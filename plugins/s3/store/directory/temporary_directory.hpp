// Directories of files that are not in their places yet, or not any more.
#pragma once

#include <string>

namespace nbdstack {

// Makes PARENT/.nbdstack-tmp-KIND-XXXXXX, and returns its path.
std::string make_temporary_directory(const std::string& parent, const char* kind);

// Takes a directory in PARENT away from the process that uses it, by another name: whatever that
// does by the old path fails with ENOENT from then on. Removes it then. A directory that is not
// there any more is no error.
void take_away(const std::string& parent, const std::string& path);

// Removes a directory with all that is below it. It stays if that fails, which does no harm.
void remove_if_possible(const std::string& path);

}  // namespace nbdstack
