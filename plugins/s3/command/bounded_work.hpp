// Items from one producer, worked on by several threads, with a bound on how many wait: so that a
// listing of any length needs little memory.
//
// When the work on one item throws, those that wait are dropped, give() says so, and finish()
// throws what was thrown first.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace nbdstack {

template <typename Item>
class BoundedWork {
 public:
  // Starts the threads, at least one, and as many as there is memory for. `work` is called by several
  // of them at a time.
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
  // Without finish(): what waits is dropped.
  ~BoundedWork() {
    end(/*drop=*/true);
    join();
  }

  // Waits while many items wait. False: the work has failed, and no more is wanted.
  bool give(Item item) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return failure_ != nullptr || waiting_.size() < waiting_max_; });
    if (failure_ != nullptr) return false;
    waiting_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }

  // Waits until everything is done. No give() afterwards.
  void finish() {
    end(/*drop=*/false);
    join();
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }

 private:
  void end(bool drop) {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    if (drop) waiting_.clear();
    changed_.notify_all();
  }

  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  void thread_main() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return ended_ || failure_ != nullptr || !waiting_.empty(); });
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
  std::mutex mutex_;  // protects everything below, but for threads_
  std::condition_variable changed_;
  std::deque<Item> waiting_;
  std::exception_ptr failure_;
  bool ended_ = false;
  std::vector<std::thread> threads_;  // of the producer
};

}  // namespace nbdstack
