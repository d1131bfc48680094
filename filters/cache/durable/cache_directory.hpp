// The directory of one durable cache: locked, and known to be the right one.
//
// Besides the store's files (durable_store.hpp) it holds
//   lock      held (flock) as long as this object lives: the directory has one user, in this
//             process or another. It contains the holder's process id, for messages.
//   identity  lines of text "key=value": what the cache is a cache of. Bytes outside of printable
//             ASCII, and '%', are written as %XX.
//
// Errors: EBUSY where somebody else holds the lock; ENOTEMPTY where the directory has no identity,
// but files, which are somebody else's: nothing of them is touched; EINVAL where the identity is
// another one or cannot be read; else what the system says. Each message names the directory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/io/directory.hpp"
#include "common/io/file.hpp"

namespace nbdstack {

struct CacheIdentity {
  std::string export_name;
  std::uint64_t disk_size_bytes = 0;
  std::uint32_t block_size_bytes = 0;
  std::string cache_id;  // the user's own name for what lies below; may be empty

  friend bool operator==(const CacheIdentity&, const CacheIdentity&) = default;
};

class CacheDirectory final : public SystemDirectory {
 public:
  // Creates the directory (mode 0700; what it lies in has to be there) if there is none, takes the
  // lock, and reads the identity. `path` is absolute.
  static std::unique_ptr<CacheDirectory> acquire(const std::string& path);

  [[nodiscard]] const std::optional<CacheIdentity>& identity() const { return identity_; }
  // Writes the identity, durably, if there is none; else it has to be this one.
  void claim(const CacheIdentity& wanted);

 private:
  CacheDirectory(const std::string& path, File lock)
      : SystemDirectory(path), lock_(std::move(lock)) {}

  File lock_;
  std::optional<CacheIdentity> identity_;
};

}  // namespace nbdstack
