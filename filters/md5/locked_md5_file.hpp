// The md5-file of a server: locked from its start, and opened by its export.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/io/directory.hpp"
#include "common/io/file.hpp"
#include "common/sync/mutex.hpp"
#include "filters/md5/file_binding.hpp"
#include "filters/md5/md5_file.hpp"

namespace nbdstack {

class LockedMd5File {
 public:
  // Creates the file if it does not exist (mode 0600), in an existing directory. `path` is
  // absolute. Errors: EBUSY if another server uses it, EINVAL if it is no md5-file, else the
  // system's.
  explicit LockedMd5File(const std::string& path);

  // Returns the file's identity, or nothing while it is new.
  [[nodiscard]] std::optional<Md5File::Identity> identity() const {
    const MutexLock lock(mutex_);
    return identity_;
  }

  // Recovers the file for use as bind_file() has allowed. A new file gets its identity with the
  // first change, which fails with Error(EINVAL) if a change of another disk came first. A file
  // that is not new is opened by one export at a time.
  [[nodiscard]] std::unique_ptr<Md5File> open(const FileBinding& binding);

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  void store(const Md5File::Identity& identity);

  std::string path_;
  File lock_;  // flock; another descriptor of the same file
  // Opened at the start, because the server may change its user afterwards.
  std::shared_ptr<StorageFile> file_;
  mutable Mutex mutex_;  // held while the file is given an identity
  std::optional<Md5File::Identity> identity_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
