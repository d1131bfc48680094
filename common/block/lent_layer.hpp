// Clients' layers below, lent to threads that work in the background until the client leaves.
//
// Why not a layer of the thread's own: what nbdkit opens for no client has no export name
// (nbdkit_export_name fails there), and a plugin that asks for it serves its default export
// instead. What is read from that would be taken for the client's own data, and what is written to
// it would be lost to the client and overwrite somebody else's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "common/block/layer.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

// One client's. Any thread.
class LentLayer {
 public:
  // `layer` is there until take_back() has returned.
  explicit LentLayer(Layer& layer) : layer_(layer) {}
  LentLayer(const LentLayer&) = delete;
  LentLayer& operator=(const LentLayer&) = delete;

  // Calls use(layer), and lets out what that throws. False: it has been taken back.
  template <typename Use>
  bool with(Use&& use) {
    const User user(*this);
    if (!user.admitted) return false;
    use(layer_);
    return true;
  }

  // Nobody begins to use it any more; waits for those who do.
  void take_back() {
    const MutexLock lock(mutex_);
    taken_back_ = true;
    while (users_ != 0) unused_.wait(mutex_);
  }

 private:
  struct User {
    explicit User(LentLayer& of) : lent(of), admitted(of.admit()) {}
    User(const User&) = delete;
    User& operator=(const User&) = delete;
    ~User() {
      const MutexLock lock(lent.mutex_);
      if (admitted && --lent.users_ == 0) lent.unused_.notify_all();
    }

    LentLayer& lent;
    const bool admitted;
  };

  bool admit() {
    const MutexLock lock(mutex_);
    if (!taken_back_) ++users_;
    return !taken_back_;
  }

  Layer& layer_;
  Mutex mutex_;
  ConditionVariable unused_;
  std::size_t users_ GUARDED_BY(mutex_) = 0;
  bool taken_back_ GUARDED_BY(mutex_) = false;
};

// Those of all clients of an export that are there. Any thread.
class LentLayers {
 public:
  // `on_lent` is called when there is one more, without a lock.
  explicit LentLayers(std::function<void()> on_lent = [] {}) : on_lent_(std::move(on_lent)) {}

  void lend(std::shared_ptr<LentLayer> layer) {
    {
      const MutexLock lock(mutex_);
      layers_.push_back(std::move(layer));
    }
    on_lent_();
  }

  // with_one() has failed with the first one: it comes after all others the next time.
  void put_first_last() {
    const MutexLock lock(mutex_);
    if (!layers_.empty()) std::rotate(layers_.begin(), layers_.begin() + 1, layers_.end());
  }

  // Waits for those who use it. May be called again, and for what was never lent.
  void take_back(const std::shared_ptr<LentLayer>& layer) {
    {
      const MutexLock lock(mutex_);
      std::erase(layers_, layer);
    }
    layer->take_back();
  }

  // Calls use(layer) with one of them, and lets out what that throws. False: there is none.
  template <typename Use>
  bool with_one(Use&& use) {
    for (const auto& layer : all()) {
      if (layer->with(use)) return true;
    }
    return false;
  }

 private:
  std::vector<std::shared_ptr<LentLayer>> all() {
    const MutexLock lock(mutex_);
    return layers_;
  }

  const std::function<void()> on_lent_;
  Mutex mutex_;
  std::vector<std::shared_ptr<LentLayer>> layers_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
