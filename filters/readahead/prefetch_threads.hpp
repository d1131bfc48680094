// The prefetching threads of all exports, and the bound on the bytes that they fetch at once.
//
// Jobs begin in the order of their submission, each as soon as a thread is free and the bytes in
// flight stay within the bound; a job alone may exceed it.
//
// Threads start with the first job: after the server has forked, and only if a client reads in
// sequence.
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

  // `fetch` throws nothing. Returns false if the job is discarded, because the threads have stopped
  // or cannot be started, or because too many jobs wait.
  bool submit(std::uint64_t bytes, std::function<void()> fetch);

  // Discards the waiting jobs, now and from now on.
  void give_up();
  // As give_up(), and waits for the jobs that have begun.
  void stop();
  // Returns whether either has been called.
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
