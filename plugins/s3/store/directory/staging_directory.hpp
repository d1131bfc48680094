// Where the owner of a volume in a directory keeps files that are not in their places yet, or not
// any more:
//
//   DIR/BUCKET/KEY/.nbdstack-tmp-staging-XXXXXX/
//
// Every change of an object is a rename from here or to here. So an owner that has lost the volume
// cannot change it any more once its staging directory has another name, wherever it was stopped
// and whenever it goes on: the new owner sees to that before its own first change.
#pragma once

#include <string>

namespace nbdstack {

class StagingDirectory {
 public:
  // Makes one in `volume_directory`, which exists, and takes away those of former owners: the
  // caller owns the volume.
  explicit StagingDirectory(const std::string& volume_directory);
  StagingDirectory(const StagingDirectory&) = delete;
  StagingDirectory& operator=(const StagingDirectory&) = delete;
  ~StagingDirectory();

  [[nodiscard]] const std::string& path() const { return path_; }

  // Nobody has taken it away.
  [[nodiscard]] bool exists() const;

 private:
  std::string path_;
};

}  // namespace nbdstack
