#include "filters/readahead/prefetch_threads.hpp"

#include <new>
#include <system_error>
#include <utility>

#include "common/log.hpp"

namespace nbdstack {
namespace {

// More than these wait only if the layer below makes hardly any progress.
constexpr std::size_t kJobs_max = 1024;

}  // namespace

// The runner is one of the threads.
PrefetchThreads::PrefetchThreads(std::size_t threads, std::uint64_t most_bytes_in_flight)
    : thread_count_(threads), most_bytes_in_flight_(most_bytes_in_flight), pool_(threads - 1) {}

bool PrefetchThreads::submit(std::uint64_t bytes, std::function<void()> fetch) {
  const MutexLock lock(mutex_);
  if (stopping_ || jobs_.size() >= kJobs_max) return false;
  if (!runner_.has_thread()) {
    try {
      runner_.start([this](StoppableThread& /*self*/) { run(); });
    } catch (const std::system_error& error) {
      log::error("readahead: no thread could be started, nothing is fetched ahead: {}",
                 error.what());
      stopping_ = true;
      return false;
    }
  }
  jobs_.push_back({bytes, std::move(fetch)});
  changed_.notify_one();
  return true;
}

void PrefetchThreads::give_up() {
  std::list<Job> dropped;  // destroyed without the lock; an empty list allocates no memory
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    dropped.swap(jobs_);
  }
  changed_.notify_all();
}

void PrefetchThreads::stop() {
  give_up();
  runner_.stop();
}

bool PrefetchThreads::is_stopping() {
  const MutexLock lock(mutex_);
  return stopping_;
}

bool PrefetchThreads::can_begin() const {
  return !jobs_.empty() &&
         (bytes_in_flight_ == 0 || bytes_in_flight_ + jobs_.front().bytes <= most_bytes_in_flight_);
}

// If there is no memory for the other threads, the runner works alone.
void PrefetchThreads::run() {
  try {
    pool_.run(thread_count_, [this](std::size_t) { work(); });
  } catch (const std::bad_alloc&) {
    work();
  }
}

void PrefetchThreads::work() {
  MutexLock lock(mutex_);
  while (true) {
    while (!stopping_ && !can_begin()) changed_.wait(mutex_);
    if (stopping_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    bytes_in_flight_ += job.bytes;
    // The notified job may leave room for another one.
    if (can_begin()) changed_.notify_one();
    lock.unlock();
    try {
      job.fetch();
    } catch (const std::bad_alloc&) {  // the job was a hint: the reader of the range fetches it
    }
    job.fetch = nullptr;
    lock.lock();
    bytes_in_flight_ -= job.bytes;
    changed_.notify_one();
  }
}

}  // namespace nbdstack
