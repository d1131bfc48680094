// The threads that fetch ahead, for all exports, and the bound on what they fetch at once.
//
// Jobs begin in the order of their submission, each as soon as a thread is free and the bytes that
// are being fetched stay within the bound; one job alone may be larger than that.
//
// Threads start with the first job: not before the server has forked, and not at all where nobody
// reads in sequence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>

#include "common/sync/mutex.hpp"
#include "common/sync/stoppable_thread.hpp"
#include "common/sync/worker_pool.hpp"

namespace nbdstack {

class PrefetchThreads {
 public:
  PrefetchThreads(std::size_t threads, std::uint64_t most_bytes_in_flight);
  PrefetchThreads(const PrefetchThreads&) = delete;
  PrefetchThreads& operator=(const PrefetchThreads&) = delete;
  ~PrefetchThreads() { stop(); }

  // `fetch` throws nothing. False: it is dropped, because the threads have stopped or cannot be
  // started, or because too many jobs wait already.
  bool submit(std::uint64_t bytes, std::function<void()> fetch);

  // Drops the jobs that wait, now and from now on.
  void give_up();
  // The same, and waits for those that have begun.
  void stop();
  // Whether either has been called.
  [[nodiscard]] bool is_stopping();

 private:
  struct Job {
    std::uint64_t bytes;
    std::function<void()> fetch;
  };

  [[nodiscard]] bool can_begin() const REQUIRES(mutex_);
  void run();
  void work();

  const std::size_t thread_count_;
  const std::uint64_t most_bytes_in_flight_;

  Mutex mutex_;
  ConditionVariable changed_;
  std::list<Job> jobs_ GUARDED_BY(mutex_);
  std::uint64_t bytes_in_flight_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
  WorkerPool pool_;
  StoppableThread runner_;  // of the pool, from the first job on
};

}  // namespace nbdstack
