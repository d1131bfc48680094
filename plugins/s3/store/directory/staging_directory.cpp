#include "plugins/s3/store/directory/staging_directory.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <utility>
#include <vector>

#include "common/io/directory.hpp"
#include "common/log.hpp"
#include "plugins/s3/store/directory/directory_walk.hpp"
#include "plugins/s3/store/directory/temporary_directory.hpp"

namespace nbdstack {
namespace {

std::vector<std::string> find_directories(const std::string& parent, const char* kind) {
  const std::string beginning = fmt::format("{}{}-", kTemporaryPrefix, kind);
  std::vector<std::string> found;
  for_each_entry(parent, [&](const auto& name, EntryKind entry) {
    if (entry != EntryKind::directory || !name.starts_with(beginning)) return;
    found.push_back(fmt::format("{}/{}", parent, name));
  });
  return found;
}

}  // namespace

StagingDirectory::StagingDirectory(const std::string& volume_directory) {
  for (const std::string& former : find_directories(volume_directory, "staging")) {
    take_away(volume_directory, former);
    log::debug("{} was left behind by a former owner", former);
  }
  // A process that was killed between the two steps of that has left these.
  for (const std::string& fenced : find_directories(volume_directory, "fenced")) {
    remove_if_possible(fenced);
  }
  path_ = make_temporary_directory(volume_directory, "staging");
}

StagingDirectory::~StagingDirectory() {
  remove_if_possible(path_);
}

bool StagingDirectory::exists() const {
  struct stat status {};
  return ::stat(path_.c_str(), &status) == 0;
}

}  // namespace nbdstack
