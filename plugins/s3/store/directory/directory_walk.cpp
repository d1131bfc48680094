#include "plugins/s3/store/directory/directory_walk.hpp"

#include <algorithm>
#include <vector>

#include "common/error.hpp"
#include "common/io/directory.hpp"

namespace nbdstack {
namespace {

[[noreturn]] void missing(const std::string& root) {
  throw Error(ENOENT, fmt::format("directory {} does not exist", root));
}

class Walk {
 public:
  Walk(const std::string& root, const WalkRange& range,
       const std::function<bool(const std::string&)>& visit)
      : root_(root), range_(range), visit_(visit) {}

  // `base` is a key that ends in '/', or empty. Returns false if the visitor wants no more keys.
  bool descend(const std::string& base) {
    for (const std::string& key : keys_of(base)) {
      if (!(key.ends_with('/') ? descend(key) : visit_(key))) return false;
    }
    return true;
  }

 private:
  // A directory's own key ends in '/', so that plain sorting also gives the order of the keys below
  // it.
  std::vector<std::string> keys_of(const std::string& base) {
    std::vector<std::string> keys;
    const bool exists = for_each_entry(root_ + "/" + base, [&](const auto& name, EntryKind kind) {
      if (name.starts_with(kTemporaryPrefix)) return;
      if (kind == EntryKind::file && is_in_range(base + name)) keys.push_back(base + name);
      if (kind == EntryKind::directory && reaches_range(base + name + "/")) {
        keys.push_back(base + name + "/");
      }
    });
    if (!exists && base.empty()) missing(root_);
    std::sort(keys.begin(), keys.end());
    return keys;
  }

  [[nodiscard]] bool is_in_range(const std::string& key) const {
    return key.starts_with(range_.prefix) && key > range_.start_after;
  }
  // Returns whether keys that begin with `base` can be in the range.
  [[nodiscard]] bool reaches_range(const std::string& base) const {
    const bool prefix_fits = base.starts_with(range_.prefix) || range_.prefix.starts_with(base);
    return prefix_fits && (base > range_.start_after || range_.start_after.starts_with(base));
  }

  const std::string& root_;
  const WalkRange& range_;
  const std::function<bool(const std::string&)>& visit_;
};

}  // namespace

void walk_objects(const std::string& root, const WalkRange& range,
                  const std::function<bool(const std::string& key)>& visit) {
  Walk(root, range, visit).descend("");
}

std::vector<std::string> directories_in(const std::string& root, const std::string& base) {
  std::vector<std::string> names;
  const bool exists = for_each_entry(root + "/" + base, [&](const auto& name, EntryKind kind) {
    if (kind != EntryKind::directory || name.starts_with(kTemporaryPrefix)) return;
    names.push_back(name + "/");  // as in keys
  });
  if (!exists && base.empty()) missing(root);
  std::sort(names.begin(), names.end());
  for (std::string& name : names) name.pop_back();
  return names;
}

void walk_temporary_files(const std::string& root,
                          const std::function<void(const std::string& path)>& visit) {
  for_each_entry(root, [&](const auto& name, EntryKind kind) {
    const std::string path = root + "/" + name;
    if (kind == EntryKind::directory) walk_temporary_files(path, visit);
    if (kind == EntryKind::file && name.starts_with(kTemporaryPrefix)) visit(path);
  });
}

}  // namespace nbdstack
