#include "plugins/s3/store/directory/staging_directory.hpp"

#include <fmt/core.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/io/directory.hpp"
#include "common/log.hpp"
#include "plugins/s3/store/directory/directory_walk.hpp"

namespace nbdstack {
namespace {

namespace fs = std::filesystem;

std::string make_directory(const std::string& parent, const char* kind) {
  std::string path = fmt::format("{}/{}{}-XXXXXX", parent, kTemporaryPrefix, kind);
  if (::mkdtemp(path.data()) == nullptr) {
    throw system_error(errno, "create a directory in {}", parent);
  }
  return path;
}

// The directories of that kind that are there.
std::vector<std::string> find_directories(const std::string& parent, const char* kind) {
  const std::string beginning = fmt::format("{}{}-", kTemporaryPrefix, kind);
  std::vector<std::string> found;
  for (const std::string& name : names_in(parent)) {
    std::string path = fmt::format("{}/{}", parent, name);
    if (name.starts_with(beginning) && fs::is_directory(path)) found.push_back(std::move(path));
  }
  return found;
}

}  // namespace

StagingDirectory::StagingDirectory(const std::string& volume_directory) {
  for (const std::string& former : find_directories(volume_directory, "staging")) {
    // The new name is a directory's that is empty, which rename() replaces.
    const std::string fenced = make_directory(volume_directory, "fenced");
    if (::rename(former.c_str(), fenced.c_str()) == -1 && errno != ENOENT) {
      throw system_error(errno, "rename {} to {}", former, fenced);
    }
    log::debug("{} was left behind by a former owner", former);
  }
  for (const std::string& fenced : find_directories(volume_directory, "fenced")) {
    std::error_code stays;
    fs::remove_all(fenced, stays);  // does no harm where it stays
  }
  path_ = make_directory(volume_directory, "staging");
}

StagingDirectory::~StagingDirectory() {
  std::error_code stays;
  fs::remove_all(path_, stays);
}

bool StagingDirectory::exists() const {
  struct stat status {};
  return ::stat(path_.c_str(), &status) == 0;
}

}  // namespace nbdstack
