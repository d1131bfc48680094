// A thread for background work: a loop that pauses between its rounds, or a task that ends by
// itself. Its owner may wake it, tells it to stop and waits for it.
//
// It is its owner's last member, because its function uses the others, and is started after the
// server has forked: a fork loses threads. A thread that cannot be started, for lack of threads or
// of memory, throws and leaves nothing behind: the owner stays without one, and may try again.
//
// An exception of the function ends the thread, and nothing else: a loop must catch it to go on.
#pragma once

#include <exception>
#include <functional>
#include <thread>
#include <utility>

#include "common/log.hpp"
#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

class StoppableThread {
 public:
  using Main = std::function<void(StoppableThread& self)>;

  StoppableThread() = default;  // without a thread, until start()
  explicit StoppableThread(Main main) { start(std::move(main)); }
  StoppableThread(const StoppableThread&) = delete;
  StoppableThread& operator=(const StoppableThread&) = delete;
  ~StoppableThread() { stop(); }

  // --- For the owner, one call of these three at a time ---

  // Returns whether there is no thread, or it was stopped.
  void start(Main main) EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      is_stopping_ = is_woken_ = false;
    }
    thread_ = std::thread([this, main = std::move(main)] { run(main); });
  }
  [[nodiscard]] bool has_thread() const { return thread_.joinable(); }
  // Waits for the running round. May be called again.
  void stop() EXCLUDES(mutex_) {
    request_stop();
    if (thread_.joinable()) thread_.join();
  }

  // --- For any thread ---

  // Ends a pause: the present one, or else the next.
  void wake() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    is_woken_ = true;
    changed_.notify_all();
  }
  void request_stop() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    is_stopping_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool is_stopping() const EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return is_stopping_;
  }

  // --- For its function: each returns false once the thread is to stop ---

  bool pause_until(TimePoint end) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    while (!is_stopping_ && !is_woken_ && changed_.wait_until(mutex_, end)) {
    }
    is_woken_ = false;
    return !is_stopping_;
  }
  bool pause_for(Duration duration) {
    return pause_until(std::chrono::steady_clock::now() + duration);
  }
  // Pauses until it is woken.
  bool pause() { return pause_until(TimePoint::max()); }

 private:
  void run(const Main& main) {
    try {
      main(*this);
    } catch (const std::exception& error) {
      log::error("a thread in the background has ended: {}", error.what());
    }
  }

  mutable Mutex mutex_;
  ConditionVariable changed_;
  bool is_stopping_ GUARDED_BY(mutex_) = false;
  bool is_woken_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
