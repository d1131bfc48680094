// State that belongs to an export: what one export caches or remembers must never be seen through
// another.
//
// The state of an export is made when it is first opened, shared by all of its clients, and kept
// until the server stops: a client that comes back finds its cache warm, and cleanup() finds every
// dirty block.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace nbdstack {

template <typename State>
class ExportRegistry {
 public:
  // The state of `export_name`, made by `make()` (a std::shared_ptr<State>) where there is none
  // yet. Making it may take long or throw: only those who open the same export wait for it, and
  // after a failure the next one tries again.
  template <typename Make>
  std::shared_ptr<State> find_or_make(const std::string& export_name, Make&& make) {
    const std::shared_ptr<Entry> entry = entry_of(export_name);
    std::call_once(entry->once, [&] {
      auto state = make();
      const std::lock_guard lock(mutex_);
      entry->state = std::move(state);
    });
    return entry->state;
  }

  [[nodiscard]] std::vector<std::pair<std::string, std::shared_ptr<State>>> all() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::pair<std::string, std::shared_ptr<State>>> states;
    for (const auto& [name, entry] : entries_) {
      if (entry->state != nullptr) states.emplace_back(name, entry->state);
    }
    return states;
  }

 private:
  struct Entry {
    std::once_flag once;
    std::shared_ptr<State> state;  // written once, under mutex_; read after call_once without it
  };

  std::shared_ptr<Entry> entry_of(const std::string& export_name) {
    const std::lock_guard lock(mutex_);
    auto& entry = entries_[export_name];
    if (entry == nullptr) entry = std::make_shared<Entry>();
    return entry;
  }

  mutable std::mutex mutex_;  // protects entries_ and the pointers in them
  std::map<std::string, std::shared_ptr<Entry>> entries_;
};

}  // namespace nbdstack
