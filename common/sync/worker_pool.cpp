#include "common/sync/worker_pool.hpp"

#include <algorithm>
#include <exception>
#include <limits>
#include <system_error>
#include <utility>

#include "common/log.hpp"

namespace nbdstack {

// What one run() has to do. The caller keeps `body` alive until all indices are done; helpers that
// come later find nothing left to take and do not touch it.
struct WorkerPool::Job {
  const std::function<void(std::size_t)>* body;
  OnFailure on_failure;

  std::mutex mutex;  // protects everything below
  std::condition_variable all_done;
  std::size_t count;  // pieces that are to be done: lowered to what has been started by a stop
  std::size_t next = 0;
  std::size_t done = 0;
  std::size_t failed_index = std::numeric_limits<std::size_t>::max();
  std::exception_ptr failure;
};

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
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
    std::unique_lock lock(job->mutex);
    job->count = job->next;
    job->all_done.wait(lock, [&] { return job->done == job->count; });
    throw;
  }
  work_on(*job);
  wait_for(*job);
}

// The caller may work along.
std::shared_ptr<WorkerPool::Job> WorkerPool::enqueue(std::size_t count, std::size_t helpers,
                                                     const std::function<void(std::size_t)>& body,
                                                     OnFailure on_failure) {
  auto job = std::make_shared<Job>();
  job->body = &body;
  job->on_failure = on_failure;
  job->count = count;
  {
    const std::lock_guard lock(mutex_);
    if (threads_.empty()) start_threads();
    queue_.insert(queue_.end(), std::min(helpers, threads_.size()), job);
  }
  wake_.notify_all();
  return job;
}

void WorkerPool::wait_for(Job& job) {
  std::unique_lock lock(job.mutex);
  job.all_done.wait(lock, [&] { return job.done == job.count; });
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
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const std::shared_ptr<Job> job = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work_on(*job);
    lock.lock();
  }
}

void WorkerPool::work_on(Job& job) {
  std::unique_lock lock(job.mutex);
  while (job.next < job.count) {
    const std::size_t index = job.next++;
    lock.unlock();
    std::exception_ptr failure;
    try {
      (*job.body)(index);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    const bool failed = failure != nullptr;
    if (failed && job.on_failure == OnFailure::stop) job.count = job.next;
    if (failed && index < job.failed_index) {
      job.failed_index = index;
      // Moved, so that no thread but the caller's holds on to the exception that he is given.
      job.failure = std::move(failure);
    }
    if (++job.done == job.count) job.all_done.notify_all();
  }
}

}  // namespace nbdstack
