// The files below a directory, in the order in which S3 lists keys: by the bytes of the whole path,
// so that "a-b" comes before "a/b", whatever a directory listing says.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace nbdstack {

// Files that a store is writing have such names until they are done; a crash leaves them behind.
// They are no objects.
inline constexpr std::string_view kTemporaryPrefix = ".nbdstack-tmp-";

struct WalkRange {
  std::string prefix;       // only keys that begin with this ...
  std::string start_after;  // ... and sort after this
};

// Calls visit(key) for every regular file (or link to one) below `root`, until it returns false;
// `key` is the path from `root` on. Sorts one directory at a time, after leaving out what is
// outside the range. Links to directories are not followed. Throws Error(ENOENT) when `root` itself
// does not exist.
void walk_objects(const std::string& root, const WalkRange& range,
                  const std::function<bool(const std::string& key)>& visit);

// The names of the directories in `base`, which is a path from `root` on that ends in '/', or empty,
// in the order of keys below them. They may be empty. Throws as walk_objects() does.
std::vector<std::string> directories_in(const std::string& root, const std::string& base);

// Calls visit(path) for every temporary file below `root`, in any order.
void walk_temporary_files(const std::string& root,
                          const std::function<void(const std::string& path)>& visit);

}  // namespace nbdstack
