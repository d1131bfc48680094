// The texts of one connection's export description. nbdkit passes the pointer on to filters without
// a copy: a text must not move until the connection is closed.
//
// A disk has few identities during a connection (its right to write changes), and each text is kept
// once, so that a call in every request allocates no memory.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "common/block/disk_identity.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

// May be used by any thread.
class DescriptionTexts {
 public:
  // `server` replaces DiskIdentity::server.
  explicit DescriptionTexts(std::string server = {}) : server_(std::move(server)) {}

  // The text is valid as long as this lives; null if there is no identity.
  const char* text_of(std::shared_ptr<const DiskIdentity> identity) {
    if (identity == nullptr) return nullptr;
    const MutexLock lock(mutex_);
    if (identity != last_) {
      DiskIdentity told = *identity;
      told.server = server_;
      last_text_ = texts_.insert(told.to_text()).first->c_str();
      last_ = std::move(identity);
    }
    return last_text_;
  }

 private:
  const std::string server_;
  Mutex mutex_;
  std::set<std::string> texts_ GUARDED_BY(mutex_);
  std::shared_ptr<const DiskIdentity> last_ GUARDED_BY(mutex_);
  const char* last_text_ GUARDED_BY(mutex_) = nullptr;  // of last_, in texts_
};

}  // namespace nbdstack
