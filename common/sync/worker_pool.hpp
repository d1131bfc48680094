// Threads that help a request to have many calls to the layer below under way at once.
//
// Work is structured: run() returns when everything it was given is done, so that whatever the
// pieces refer to may live on the caller's stack. The caller works along, so run() makes progress
// even when every thread of the pool is busy, and may be nested without danger of deadlock.
//
// Threads start at the first use: a server may fork before it, and a fork loses threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "common/sync/mutex.hpp"

namespace nbdstack {

class WorkerPool {
 public:
  explicit WorkerPool(std::size_t threads) : thread_count_(threads) {}
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  // Joins the threads; no run() is under way any more.
  ~WorkerPool();

  // What becomes of the pieces that have not been started when one throws.
  enum class OnFailure : std::uint8_t {
    finish,  // they run all the same: each is worth doing for itself
    stop,    // they are left out: the whole has failed, and they might take long to fail as well
  };

  // Calls body(0) ... body(count - 1), several at a time, in order of their start, and waits for
  // those that were started. When some throw, the exception of the lowest index is thrown.
  void run(std::size_t count, const std::function<void(std::size_t)>& body,
           OnFailure on_failure = OnFailure::finish);

  // The same, while the caller does something of his own first, which stays on his thread: what
  // belongs to a thread (nbdkit keeps a request's error and connection so) is not lost. When that
  // throws, pieces that have not begun are left out, and its exception is thrown.
  void run_beside(const std::function<void()>& own, std::size_t count,
                  const std::function<void(std::size_t)>& body);

 private:
  struct Job;

  std::shared_ptr<Job> enqueue(std::size_t count, std::size_t helpers,
                               const std::function<void(std::size_t)>& body, OnFailure on_failure);
  void start_threads() REQUIRES(mutex_);
  void thread_main();
  static void work_on(Job& job);
  static void wait_for(Job& job);

  const std::size_t thread_count_;

  Mutex mutex_;
  ConditionVariable wake_;
  // One entry for each helper that a job may get.
  std::deque<std::shared_ptr<Job>> queue_ GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace nbdstack
