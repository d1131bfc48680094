// Several threads work on items from one producer. The number of waiting items is bounded, so that
// a listing of any length needs little memory.
//
// If the work on one item throws, the waiting items are discarded, give() returns false, and
// finish() throws the first exception.
#pragma once

#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "common/sync/mutex.hpp"

namespace nbdstack {

template <typename Item>
class BoundedWork {
 public:
  // Starts at least one thread, and as many as there is memory for. They call `work` concurrently.
  BoundedWork(std::size_t threads, std::function<void(Item&)> work)
      : work_(std::move(work)), waiting_max_(2 * threads) {
    threads_.reserve(threads);
    try {
      while (threads_.size() < threads) threads_.emplace_back([this] { thread_main(); });
    } catch (const std::exception&) {  // std::system_error, std::bad_alloc
      if (threads_.empty()) throw;
    }
  }
  BoundedWork(const BoundedWork&) = delete;
  BoundedWork& operator=(const BoundedWork&) = delete;
  // Without finish() the waiting items are discarded.
  ~BoundedWork() {
    end(/*drop=*/true);
    join();
  }

  // Waits while the queue is full. Returns false if the work has failed: nothing more is accepted.
  bool give(Item item) {
    const MutexLock lock(mutex_);
    while (failure_ == nullptr && waiting_.size() >= waiting_max_) changed_.wait(mutex_);
    if (failure_ != nullptr) return false;
    waiting_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }

  // Waits until everything is done. give() must not be called afterwards.
  void finish() {
    end(/*drop=*/false);
    join();
    const MutexLock lock(mutex_);
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }

 private:
  void end(bool drop) {
    const MutexLock lock(mutex_);
    ended_ = true;
    if (drop) waiting_.clear();
    changed_.notify_all();
  }

  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  void thread_main() {
    MutexLock lock(mutex_);
    while (true) {
      while (!ended_ && failure_ == nullptr && waiting_.empty()) changed_.wait(mutex_);
      if (waiting_.empty()) return;
      Item item = std::move(waiting_.front());
      waiting_.pop_front();
      changed_.notify_all();
      lock.unlock();
      std::exception_ptr failure;
      try {
        work_(item);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure == nullptr) continue;
      if (failure_ == nullptr) failure_ = failure;
      waiting_.clear();
      changed_.notify_all();
      return;
    }
  }

  const std::function<void(Item&)> work_;
  const std::size_t waiting_max_;
  Mutex mutex_;
  ConditionVariable changed_;
  std::deque<Item> waiting_ GUARDED_BY(mutex_);
  std::exception_ptr failure_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // used by the producer only
};

}  // namespace nbdstack
