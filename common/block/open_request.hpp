// Who opens which disk, and how long that client stays.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace nbdstack {

// What is held because a client is there. Given back, the last first, when the client leaves: when
// nbdkit finalizes its connection, or closes it without that, whichever comes first. (A layer
// lives until the close, which comes after the client has seen its connection end.)
//
// Any thread.
class ClientStay {
 public:
  ClientStay() = default;
  ClientStay(const ClientStay&) = delete;
  ClientStay& operator=(const ClientStay&) = delete;
  ~ClientStay() { end(); }

  void hold(std::shared_ptr<void> held) {
    const std::lock_guard lock(mutex_);
    held_.push_back(std::move(held));
  }

  void end() {
    std::vector<std::shared_ptr<void>> held;
    {
      const std::lock_guard lock(mutex_);
      held.swap(held_);
    }
    while (!held.empty()) held.pop_back();
  }

 private:
  std::mutex mutex_;  // protects what follows
  std::vector<std::shared_ptr<void>> held_;
};

struct OpenRequest {
  std::string export_name;
  bool readonly = false;
  bool is_tls = false;  // a plugin may show such a client another disk under the same name
  std::shared_ptr<ClientStay> stay = std::make_shared<ClientStay>();
};

// nbdkit tells a plugin the name of an export only where a client has asked for it (elsewhere
// nbdkit_export_name fails): what is opened for no client is the default export, and an export with
// a name is there only while a client of it lends its layer (common/block/lent_layer.hpp).
inline bool is_default_export(const std::string& export_name) {
  return export_name.empty();
}

}  // namespace nbdstack
