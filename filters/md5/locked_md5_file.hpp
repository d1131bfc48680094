// The md5-file of a server: locked from its start, and taken over by the export it is for.
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
  // Makes the file if there is none (mode 0600; its directory has to be there). `path` is absolute.
  // Errors: EBUSY where somebody else uses it, EINVAL where it is no md5-file, else the system's.
  explicit LockedMd5File(const std::string& path);

  // What it is for; nothing while it is new.
  [[nodiscard]] std::optional<Md5File::Identity> identity() const {
    const MutexLock lock(mutex_);
    return identity_;
  }

  // Recovered and ready, for what bind_file() has allowed. A new file gets its identity with the
  // first change, which fails with an Error(EINVAL) where another disk's came first. One at a time
  // of a file that is not new.
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
