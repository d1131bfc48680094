// A thread that tries something again until it is done: with pauses from a second to a minute.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace nbdstack {

class UntilDone {
 public:
  // `attempt` says whether it is done, and throws nothing.
  explicit UntilDone(std::function<bool()> attempt)
      : attempt_(std::move(attempt)), thread_([this] { main(); }) {}
  UntilDone(const UntilDone&) = delete;
  UntilDone& operator=(const UntilDone&) = delete;
  // Waits for an attempt that is under way.
  ~UntilDone() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

 private:
  void main() {
    constexpr std::chrono::seconds kLongest(60);
    std::chrono::seconds pause(1);
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, pause, [&] { return stopping_; })) {
      pause = std::min(2 * pause, kLongest);
      lock.unlock();
      const bool done = attempt_();
      lock.lock();
      if (done) return;
    }
  }

  const std::function<bool()> attempt_;
  std::mutex mutex_;  // protects what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
