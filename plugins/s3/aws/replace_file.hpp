// Puts new content into a file that other programs read and write, in one step.
#pragma once

#include <functional>
#include <string>

namespace nbdstack {

// Calls `make` for the new content only once it is certain, short of a full disk, that the file at
// `path`, which must exist, can be replaced: the new file lies beside it, with mode 0600 and the
// same owner. A link is followed. Throws Error that names the path; exceptions of `make` propagate.
// After either the file is unchanged.
void replace_file(const std::string& path, const std::function<std::string()>& make);

}  // namespace nbdstack
