#include "plugins/s3/store/directory/temporary_directory.hpp"

#include <fmt/core.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>

#include "common/error.hpp"
#include "common/io/directory.hpp"
#include "common/log.hpp"
#include "plugins/s3/store/directory/directory_walk.hpp"

namespace nbdstack {

std::string make_temporary_directory(const std::string& parent, const char* kind) {
  std::string path = fmt::format("{}/{}{}-XXXXXX", parent, kTemporaryPrefix, kind);
  if (::mkdtemp(path.data()) == nullptr) {
    throw system_error(errno, "create a directory in {}", parent);
  }
  return path;
}

// The new name belongs to an empty directory, which rename() replaces.
void take_away(const std::string& parent, const std::string& path) {
  const std::string fenced = make_temporary_directory(parent, "fenced");
  if (::rename(path.c_str(), fenced.c_str()) == -1 && errno != ENOENT) {
    const int code = errno;
    remove_if_possible(fenced);
    throw system_error(code, "rename {} to {}", path, fenced);
  }
  remove_if_possible(fenced);
}

void remove_if_possible(const std::string& path) {
  try {
    for_each_entry(path, [&](const auto& name, EntryKind kind) {
      const std::string entry = fmt::format("{}/{}", path, name);
      if (kind == EntryKind::directory) {
        remove_if_possible(entry);
      } else {
        ::unlink(entry.c_str());
      }
    });
    ::rmdir(path.c_str());
  } catch (const std::exception& failure) {
    log::debug("{} stays: {}", path, failure.what());
  }
}

}  // namespace nbdstack
