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

#include "common/block/disk_identity.hpp"

namespace nbdstack {

// Any thread.
class DescriptionTexts {
 public:
  // Valid as long as this is. Null for no identity.
  const char* text_of(std::shared_ptr<const DiskIdentity> identity) {
    if (identity == nullptr) return nullptr;
    const std::lock_guard lock(mutex_);
    if (identity != last_) {
      last_text_ = texts_.insert(identity->to_text()).first->c_str();
      last_ = std::move(identity);
    }
    return last_text_;
  }

 private:
  std::mutex mutex_;  // protects what follows
  std::set<std::string> texts_;
  std::shared_ptr<const DiskIdentity> last_;
  const char* last_text_ = nullptr;  // of last_, in texts_
};

}  // namespace nbdstack
