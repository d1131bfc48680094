// Describes which disk a client opens, and how long the client stays.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/sync/mutex.hpp"

namespace nbdstack {

// Holds objects until the client leaves, and releases the last one first: when nbdkit finalizes the
// connection, or when nbdkit closes it without that. (A layer lives until the close, which comes
// after the client has seen its connection end.)
//
// May be used by any thread.
class ClientStay {
 public:
  ClientStay() = default;
  ClientStay(const ClientStay&) = delete;
  ClientStay& operator=(const ClientStay&) = delete;
  ~ClientStay() { end(); }

  void hold(std::shared_ptr<void> held) {
    const MutexLock lock(mutex_);
    held_.push_back(std::move(held));
  }

  void end() {
    std::vector<std::shared_ptr<void>> held;
    {
      const MutexLock lock(mutex_);
      held.swap(held_);
    }
    while (!held.empty()) held.pop_back();
  }

 private:
  Mutex mutex_;
  std::vector<std::shared_ptr<void>> held_ GUARDED_BY(mutex_);
};

struct OpenRequest {
  std::string export_name;
  bool readonly = false;
  bool is_tls = false;  // a plugin may show such a client another disk under the same name
  std::shared_ptr<ClientStay> stay = std::make_shared<ClientStay>();
};

// A plugin learns an export's name from nbdkit only in a client's connection (elsewhere
// nbdkit_export_name fails): a connection without a client is to the default export, and another
// export can be reached only while a client of it lends its layer (common/block/lent_layer.hpp).
inline bool is_default_export(const std::string& export_name) {
  return export_name.empty();
}

}  // namespace nbdstack
