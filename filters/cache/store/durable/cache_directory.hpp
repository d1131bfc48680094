// The directory of one durable cache: locked, and verified to be the right one.
//
// Besides the store's files (durable_store.hpp) it contains
//   lock      locked (flock) as long as this object lives: the directory has one user, in this
//             process or another. It contains that user's process id, for messages.
//   identity  the disk of the cache (cache_identity.hpp). It is created before any file that a
//             later start could mistake for data.
//   identity.new  the next identity while it is written, before it replaces the other one
//
//   state      identity  content                ends
//   unused     none      none, except perhaps   with begin_content() of the first write, in used;
//                        empty files            or not at all: a client of the wrong disk leaves
//                                               no trace
//   used       one       any                    with remove_all()
//
// Errors: EBUSY if another process holds the lock; ENOTEMPTY if the directory has files but no
// identity: they belong to another program, and stay untouched; EINVAL if the identity is another
// one or cannot be read; else the system's. Each message names the directory.
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
  // Creates the directory (mode 0700; its parent must exist) if there is none, takes the lock, and
  // reads the identity. `path` is absolute.
  static std::unique_ptr<CacheDirectory> acquire(const std::string& path);
  // Like acquire(), over a directory that needs no lock.
  explicit CacheDirectory(std::unique_ptr<Directory> files, File lock = {});

  // Returns the stored identity.
  [[nodiscard]] std::optional<CacheIdentity> identity() const;
  // Returns the cipher of its pages, or null if they are in the clear. Throws if `passphrase`, from
  // cache-encrypt, does not fit the directory (directory_key.hpp). A new key is stored with the
  // identity, before anything that it encrypts. Without unlock() pages can be left alone, and stay
  // encrypted as they are.
  std::shared_ptr<const UnitCipher> unlock(const std::optional<std::string>& passphrase,
                                           const ScryptCost& cost = {});
  // Throws if `wanted` differs in anything that the user has to keep the same.
  void expect(const CacheIdentity& wanted) const;
  // Writes the identity, durably, if there is none; else it has to fit, as for expect().
  void claim(const CacheIdentity& wanted);
  // Records, durably, that the content of the directory is true of this identity from now on.
  void record(const CacheIdentity& identity);
  // Like record(), but only before the first content is written: delayed until begin_content().
  void record_with_content(const CacheIdentity& identity);
  // Returns whether a record is delayed like that.
  [[nodiscard]] bool is_pending() const { return is_pending_; }
  // Called before each write. Any thread.
  void begin_content() {
    if (is_pending_.load(std::memory_order_acquire)) record_pending();
  }
  // Removes everything but the lock; the directory is unused again.
  void remove_all();

  [[nodiscard]] const std::string& path() const override { return files_->path(); }
  [[nodiscard]] std::vector<std::string> names() const override { return files_->names(); }
  [[nodiscard]] std::unique_ptr<StorageFile> open(const std::string& name) override {
    return files_->open(name);
  }
  void rename(const std::string& from, const std::string& to) override { files_->rename(from, to); }
  void remove(const std::string& name) override { files_->remove(name); }
  void sync() override { files_->sync(); }
  // Returns false if the directory was removed, renamed, or covered by a mount.
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
  std::optional<WrappedKey> encryption_ GUARDED_BY(mutex_);  // written with each identity
};

}  // namespace nbdstack
