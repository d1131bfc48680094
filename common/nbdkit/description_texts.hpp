// The texts of one connection's export description. nbdkit keeps no copy of what it is given, and
// hands it on to filters: a text must stay where it is until the connection is closed.
//
// An identity has few texts in a connection's life (its right to write comes and goes), and each
// is kept once, so that asking with every request takes no memory.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "common/block/disk_identity.hpp"

namespace nbdstack {

// Any thread.
class DescriptionTexts {
 public:
  // `server`: that of the identities (DiskIdentity::server).
  explicit DescriptionTexts(std::string server = {}) : server_(std::move(server)) {}

  // Valid as long as this is. Null for no identity.
  const char* text_of(std::shared_ptr<const DiskIdentity> identity) {
    if (identity == nullptr) return nullptr;
    const std::lock_guard lock(mutex_);
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
  std::mutex mutex_;  // protects what follows
  std::set<std::string> texts_;
  std::shared_ptr<const DiskIdentity> last_;
  const char* last_text_ = nullptr;  // of last_, in texts_
};

}  // namespace nbdstack
