// The md5-file of a server: locked from its start, and taken over by the export it is for.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "common/io/directory.hpp"
#include "common/io/file.hpp"
#include "filters/md5/digest_file.hpp"

namespace nbdstack {

class LockedDigestFile {
 public:
  // Makes the file if there is none (mode 0600; its directory has to be there). `path` is absolute.
  // Errors: EBUSY where somebody else uses it, EINVAL where it is no md5-file, else the system's.
  explicit LockedDigestFile(const std::string& path);

  // What it is for; nothing while it is new.
  [[nodiscard]] std::optional<DigestFile::Identity> identity() const {
    const std::lock_guard lock(mutex_);
    return identity_;
  }

  // Recovered and ready, for this export; a new file is that export's from now on. An
  // Error(EINVAL) where it is another one's. Once, unless it failed.
  [[nodiscard]] std::unique_ptr<DigestFile> claim(const std::string& export_name,
                                                  std::uint32_t block_size);

 private:
  std::string path_;
  File lock_;  // flock; another descriptor of the same file
  // Opened at the start, because the server may change its user afterwards.
  std::shared_ptr<StorageFile> file_;
  mutable std::mutex mutex_;  // protects identity_ while clients open exports
  std::optional<DigestFile::Identity> identity_;
};

}  // namespace nbdstack
