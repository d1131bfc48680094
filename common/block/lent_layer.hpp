// Clients' layers below, lent to threads that work in the background until the client leaves.
//
//   Loan        the client's: lends its layer, and takes it back
//   LentLayer   the borrowers': the layer of one client, as long as the loan lasts
//   LentLayers  where borrowers find those of all clients of an export
//
// A thread has no layer of its own, because a layer that nbdkit opens for no client has no export
// name (nbdkit_export_name fails there), and a plugin that needs the name serves its default export
// instead. Data read from that would be taken for the client's own, and data written to it would be
// lost to the client and overwrite the default export.
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

// May be used by any thread.
class LentLayer {
 public:
  // `layer` lives until take_back() has returned.
  explicit LentLayer(Layer& layer) : layer_(layer) {}
  LentLayer(const LentLayer&) = delete;
  LentLayer& operator=(const LentLayer&) = delete;

  // Calls use(layer); its exceptions propagate. Returns false, without the call, once the layer has
  // been taken back.
  template <typename Use>
  bool with(Use&& use) {
    const User user(*this);
    if (!user.admitted) return false;
    use(layer_);
    return true;
  }

  // No use begins any more; waits for those under way. May be called again.
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

// May be used by any thread. Only a Loan lends, and takes back.
class LentLayers {
 public:
  // `on_lent` is called after a layer was added, without a lock.
  explicit LentLayers(std::function<void()> on_lent = [] {}) : on_lent_(std::move(on_lent)) {}

  // Called after a failure with the layer of with_one(), which was the first: the next with_one()
  // tries it after all others.
  void put_first_last() {
    const MutexLock lock(mutex_);
    if (!layers_.empty()) std::rotate(layers_.begin(), layers_.begin() + 1, layers_.end());
  }

  // Calls use(layer) with one of them; its exceptions propagate. Returns false if there is none.
  template <typename Use>
  bool with_one(Use&& use) {
    for (const auto& layer : all()) {
      if (layer->with(use)) return true;
    }
    return false;
  }

 private:
  friend class Loan;

  void add(std::shared_ptr<LentLayer> layer) {
    {
      const MutexLock lock(mutex_);
      layers_.push_back(std::move(layer));
    }
    on_lent_();
  }
  void remove(const std::shared_ptr<LentLayer>& layer) {
    const MutexLock lock(mutex_);
    std::erase(layers_, layer);
  }
  std::vector<std::shared_ptr<LentLayer>> all() {
    const MutexLock lock(mutex_);
    return layers_;
  }

  const std::function<void()> on_lent_;
  Mutex mutex_;
  std::vector<std::shared_ptr<LentLayer>> layers_ GUARDED_BY(mutex_);
};

// Lends a client's layer until take_back(), which comes before the layer is finalized, or else (a
// handshake that failed is never finalized) until its own end. Used by the client's thread.
class Loan {
 public:
  // `below` outlives this. Borrowers find it among `clients`, which outlives this, too; if that is
  // null, the caller gives them layer().
  explicit Loan(Layer& below, LentLayers* clients = nullptr)
      : clients_(clients), layer_(std::make_shared<LentLayer>(below)) {
    if (clients_ != nullptr) clients_->add(layer_);
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan() { take_back(); }

  [[nodiscard]] const std::shared_ptr<LentLayer>& layer() const { return layer_; }
  // Waits for the uses that are under way. May be called again.
  void take_back() {
    if (clients_ != nullptr) clients_->remove(layer_);
    layer_->take_back();
  }

 private:
  LentLayers* const clients_;
  const std::shared_ptr<LentLayer> layer_;
};

}  // namespace nbdstack
