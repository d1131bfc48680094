#include "common/sync/worker_pool.hpp"

#include <algorithm>
#include <exception>
#include <limits>
#include <system_error>
#include <utility>

#include "common/log.hpp"
#include "common/sync/request_trace.hpp"

namespace nbdstack {

// The work of one run(). The caller keeps `body` alive until all indices are done. Helpers that
// come later find no index to take, and do not touch it.
struct WorkerPool::Job {
  Job(std::size_t pieces, const std::function<void(std::size_t)>& work, OnFailure policy)
      : body(work), on_failure(policy), count(pieces) {}

  const std::function<void(std::size_t)>& body;
  const OnFailure on_failure;
  RequestTrace* const trace = RequestTrace::current();  // the caller's

  Mutex mutex;
  ConditionVariable all_done;
  // Pieces that are to be done: a stop lowers it to those that have been started.
  std::size_t count GUARDED_BY(mutex);
  std::size_t next GUARDED_BY(mutex) = 0;
  std::size_t done GUARDED_BY(mutex) = 0;
  std::size_t failed_index GUARDED_BY(mutex) = std::numeric_limits<std::size_t>::max();
  std::exception_ptr failure GUARDED_BY(mutex);

  void wait() REQUIRES(mutex) {
    while (done != count) all_done.wait(mutex);
  }
};

void WorkerPool::stop() {
  std::vector<std::thread> threads;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

void WorkerPool::run(std::size_t count, const std::function<void(std::size_t)>& body,
                     OnFailure on_failure) {
  if (count <= 1) {
    for (std::size_t i = 0; i < count; ++i) body(i);
    return;
  }
  const auto job = enqueue(count, count - 1, body, on_failure);
  work_on(*job);
  wait_for(*job);
}

void WorkerPool::run_beside(const std::function<void()>& own, std::size_t count,
                            const std::function<void(std::size_t)>& body) {
  const auto job = enqueue(count, count, body, OnFailure::stop);
  try {
    own();
  } catch (...) {
    const MutexLock lock(job->mutex);
    job->count = job->next;
    job->wait();
    throw;
  }
  work_on(*job);
  wait_for(*job);
}

// The caller may work as well.
std::shared_ptr<WorkerPool::Job> WorkerPool::enqueue(std::size_t count, std::size_t helpers,
                                                     const std::function<void(std::size_t)>& body,
                                                     OnFailure on_failure) {
  auto job = std::make_shared<Job>(count, body, on_failure);
  {
    const MutexLock lock(mutex_);
    if (threads_.empty() && !stopping_) start_threads();
    queue_.insert(queue_.end(), std::min(helpers, threads_.size()), job);
  }
  wake_.notify_all();
  return job;
}

void WorkerPool::wait_for(Job& job) {
  const MutexLock lock(job.mutex);
  job.wait();
  if (job.failure != nullptr) std::rethrow_exception(std::move(job.failure));
}

// A machine that has no more threads to give, or no memory for them, makes requests slower, not
// impossible: callers work alone then.
void WorkerPool::start_threads() {
  threads_.reserve(thread_count_);
  try {
    while (threads_.size() < thread_count_) threads_.emplace_back([this] { thread_main(); });
  } catch (const std::exception& error) {  // std::system_error, std::bad_alloc
    log::error("only {} of {} threads could be started ({}): requests will be slower",
               threads_.size(), thread_count_, error.what());
  }
}

void WorkerPool::thread_main() {
  MutexLock lock(mutex_);
  while (true) {
    while (!stopping_ && queue_.empty()) wake_.wait(mutex_);
    if (queue_.empty()) return;
    const std::shared_ptr<Job> job = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work_on(*job);
    lock.lock();
  }
}

void WorkerPool::work_on(Job& job) {
  const RequestTrace::Scope scope(job.trace);
  MutexLock lock(job.mutex);
  while (job.next < job.count) {
    const std::size_t index = job.next++;
    lock.unlock();
    std::exception_ptr failure;
    try {
      job.body(index);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    const bool failed = failure != nullptr;
    if (failed && job.on_failure == OnFailure::stop) job.count = job.next;
    if (failed && index < job.failed_index) {
      job.failed_index = index;
      // Moved, so that only the caller's thread keeps the exception that it is given.
      job.failure = std::move(failure);
    }
    if (++job.done == job.count) job.all_done.notify_all();
  }
}

}  // namespace nbdstack
