// The directory of one durable cache: locked, and known to be the right one.
//
// Besides the store's files (durable_store.hpp) it holds
//   lock      held (flock) as long as this object lives: the directory has one user, in this
//             process or another. It contains the holder's process id, for messages.
//   identity  what the cache is a cache of (cache_identity.hpp). It is there before anything is
//             that a later start could take for somebody's data.
//   identity.new  what the next one is written to, before it takes the other one's place
//
//   state      identity  content                is left
//   unused     none      none: files that are   by begin_content() of the first write, to used; or
//                        empty may be there     not at all: a client who has come to the wrong
//                                               place leaves no trace
//   used       one       any                    by remove_all()
//
// Errors: EBUSY where somebody else holds the lock; ENOTEMPTY where the directory has no identity,
// but files, which are somebody else's: nothing of them is touched; EINVAL where the identity is
// another one or cannot be read; else what the system says. Each message names the directory.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/crypto/unit_cipher.hpp"
#include "common/crypto/wrapped_key.hpp"
#include "common/io/directory.hpp"
#include "common/io/file.hpp"
#include "common/sync/mutex.hpp"
#include "filters/cache/store/durable/cache_identity.hpp"

namespace nbdstack {

class CacheDirectory final : public Directory {
 public:
  // Creates the directory (mode 0700; what it lies in has to be there) if there is none, takes the
  // lock, and reads the identity. `path` is absolute.
  static std::unique_ptr<CacheDirectory> acquire(const std::string& path);
  // The same over a directory that needs no lock.
  explicit CacheDirectory(std::unique_ptr<Directory> files, File lock = {});

  // The one that is stored.
  [[nodiscard]] std::optional<CacheIdentity> identity() const;
  // The cipher of its pages; null: they lie in the clear. Throws where `passphrase`, that of
  // cache-encrypt if it was given, does not go with the directory (directory_key.hpp). A key that
  // is new is stored with the identity, before anything that it encrypts. Nobody has to unlock() a
  // directory whose pages are left alone: it stays encrypted as it is.
  std::shared_ptr<const UnitCipher> unlock(const std::optional<std::string>& passphrase,
                                           const ScryptCost& cost = {});
  // Throws where `wanted` is another cache's identity in what the user has to keep the same.
  void expect(const CacheIdentity& wanted) const;
  // Writes the identity, durably, if there is none; else it has to fit, as above.
  void claim(const CacheIdentity& wanted);
  // Durable when this returns: what is in the directory is true of this from now on.
  void record(const CacheIdentity& identity);
  // The same, but not before something is written to the directory: until begin_content().
  void record_with_content(const CacheIdentity& identity);
  // Whether something waits for that.
  [[nodiscard]] bool is_pending() const { return is_pending_; }
  // Something is about to be written. Any thread.
  void begin_content() {
    if (is_pending_.load(std::memory_order_acquire)) record_pending();
  }
  // Everything but the lock goes; the directory is unused again.
  void remove_all();

  [[nodiscard]] const std::string& path() const override { return files_->path(); }
  [[nodiscard]] std::vector<std::string> names() const override { return files_->names(); }
  [[nodiscard]] std::unique_ptr<StorageFile> open(const std::string& name) override {
    return files_->open(name);
  }
  void rename(const std::string& from, const std::string& to) override { files_->rename(from, to); }
  void remove(const std::string& name) override { files_->remove(name); }
  void sync() override { files_->sync(); }
  // Not where somebody has removed it, renamed it, or mounted something over it.
  [[nodiscard]] bool is_found_again() const override;

 private:
  void read_identity() REQUIRES(mutex_);
  void remove_empty_leftovers();
  void record_pending();
  [[nodiscard]] CacheIdentity with_encryption(CacheIdentity identity) const REQUIRES(mutex_);
  void write(const CacheIdentity& identity) REQUIRES(mutex_);

  const std::unique_ptr<Directory> files_;
  File lock_;
  std::atomic<bool> is_pending_ = false;
  mutable Mutex mutex_;  // also held while the file is written
  std::optional<CacheIdentity> identity_ GUARDED_BY(mutex_);
  std::optional<CacheIdentity> pending_ GUARDED_BY(mutex_);
  std::optional<WrappedKey> encryption_ GUARDED_BY(mutex_);  // goes into each of them
};

}  // namespace nbdstack
