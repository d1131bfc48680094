// The directory in which the owner of a volume keeps files that are not in their places yet, or
// have been removed from them:
//
//   DIR/BUCKET/KEY/.nbdstack-tmp-staging-XXXXXX/
//
// Every change of an object is a rename from or to this directory. So an owner that has lost the
// volume cannot change it any more once its staging directory has another name, wherever it was
// stopped and whenever it continues: the new owner renames it before its own first change.
#pragma once

#include <string>

namespace nbdstack {

class StagingDirectory {
 public:
  // The caller owns the volume. Makes a directory in `volume_directory`, which exists, and renames
  // and removes those of former owners.
  explicit StagingDirectory(const std::string& volume_directory);
  StagingDirectory(const StagingDirectory&) = delete;
  StagingDirectory& operator=(const StagingDirectory&) = delete;
  ~StagingDirectory();

  [[nodiscard]] const std::string& path() const { return path_; }

  // Returns false if another owner has taken it away.
  [[nodiscard]] bool exists() const;

 private:
  std::string path_;
};

}  // namespace nbdstack
