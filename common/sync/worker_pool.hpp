// Threads that let a request have many calls to the layer below in flight.
//
// Work is structured: run() returns when all its pieces are done, so they may refer to the caller's
// stack. The caller works as well, so run() makes progress even if all threads are busy, and nested
// calls cannot deadlock.
//
// Threads start at the first use, because a fork before it would lose them.
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
  // No run() may be in progress.
  ~WorkerPool() { stop(); }

  // Joins the threads. No run() may be in progress; later ones are the work of their callers alone.
  // A pool whose owner may never be destroyed, as nbdkit leaves layers of clients when the server
  // stops, is stopped before its library is unloaded: a thread that is woken late for a job that
  // others have done would run code that is gone.
  void stop() EXCLUDES(mutex_);

  // The fate of pieces that have not begun when one throws.
  enum class OnFailure : std::uint8_t {
    finish,  // they run: each is useful by itself
    stop,    // they are skipped: the whole has failed, and they might take long to fail as well
  };

  // Calls body(0) ... body(count - 1), several at a time, in order of their start, and waits for
  // those that were started. When some throw, the exception of the lowest index is thrown.
  void run(std::size_t count, const std::function<void(std::size_t)>& body,
           OnFailure on_failure = OnFailure::finish);

  // As above, but the caller's thread calls own() first, beside the pieces: nbdkit keeps a
  // request's error and connection with its thread. If own() throws, pieces that have not begun are
  // skipped, and its exception is thrown.
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
