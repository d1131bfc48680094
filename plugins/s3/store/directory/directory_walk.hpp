// Lists the files below a directory in the order in which S3 lists keys: by the bytes of the whole
// path, so that "a-b" comes before "a/b", whatever the order of a directory listing.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace nbdstack {

// Begins the names of files that a store is still writing; a crash leaves them behind. They are no
// objects.
inline constexpr std::string_view kTemporaryPrefix = ".nbdstack-tmp-";

struct WalkRange {
  std::string prefix;       // only keys that begin with this ...
  std::string start_after;  // ... and sort after this
};

// Calls visit(key) for every regular file (or link to one) below `root`, until it returns false;
// `key` is the path relative to `root`. Sorts one directory at a time, after skipping names outside
// the range. Links to directories are not followed. Throws Error(ENOENT) if `root` itself does not
// exist.
void walk_objects(const std::string& root, const WalkRange& range,
                  const std::function<bool(const std::string& key)>& visit);

// Returns the names of the directories in `base` (a path relative to `root`, empty or with a '/' at
// its end), in the order of the keys below them. They may be empty. Throws like walk_objects().
std::vector<std::string> directories_in(const std::string& root, const std::string& base);

// Calls visit(path) for every temporary file below `root`, in any order.
void walk_temporary_files(const std::string& root,
                          const std::function<void(const std::string& path)>& visit);

}  // namespace nbdstack
