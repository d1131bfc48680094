// Puts new content into a file that other programs read and write, in one step.
#pragma once

#include <functional>
#include <string>

namespace nbdstack {

// Calls `make` for the new content only once it is certain, short of a full disk, that the file at
// `path`, which must exist, can be replaced: the new one stands beside it, with mode 0600 and the
// same owner. A link is followed. Throws Error that names the path, and what `make` throws; the
// file is as it was then.
void replace_file(const std::string& path, const std::function<std::string()>& make);

}  // namespace nbdstack
