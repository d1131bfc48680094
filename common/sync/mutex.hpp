// A mutex whose use the compiler checks: clang's thread-safety analysis (-Wthread-safety), which
// the test style-thread-safety runs over every file that includes this one. g++ sees plain types.
//
//   Mutex mutex_;
//   Table table_ GUARDED_BY(mutex_);          only read or written while mutex_ is held
//   void take(Slot slot) REQUIRES(mutex_);    only called while it is held, and still held after
//   void flush() EXCLUDES(mutex_);            only called while it is not held
//
// How to write what the analysis understands:
//  - A class that shares nothing but what its owner guards has no mutex and no annotations: it says
//    "externally synchronized" in its first line, and the owner's member is GUARDED_BY.
//  - A function with REQUIRES that gives the mutex to others for a while says so with MutexUnlock.
//  - A lambda is a function of its own, which knows nothing of what its maker holds: it may be
//    annotated as any function, or begin with mutex_.is_held() where a template calls it. Wait in a
//    loop, `while (!ready_) changed_.wait(mutex_);`, instead of with a predicate.
//  - Two names of one mutex are two mutexes to it. So a class that is called with another one's
//    mutex held takes that as a parameter: `void settle(State& state) REQUIRES(state.mutex);`
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define NBDSTACK_THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define NBDSTACK_THREAD_SAFETY(attribute)
#endif
#define GUARDED_BY(mutex) NBDSTACK_THREAD_SAFETY(guarded_by(mutex))
#define REQUIRES(...) NBDSTACK_THREAD_SAFETY(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) NBDSTACK_THREAD_SAFETY(locks_excluded(__VA_ARGS__))
#define ACQUIRES(...) NBDSTACK_THREAD_SAFETY(acquire_capability(__VA_ARGS__))
#define RELEASES(...) NBDSTACK_THREAD_SAFETY(release_capability(__VA_ARGS__))
#define ASSERTS_HELD(...) NBDSTACK_THREAD_SAFETY(assert_capability(__VA_ARGS__))

namespace nbdstack {

class NBDSTACK_THREAD_SAFETY(capability("mutex")) Mutex {
 public:
  void lock() ACQUIRES() { mutex_.lock(); }
  void unlock() RELEASES() { mutex_.unlock(); }
  // Tells the analysis, in a lambda that only runs while the mutex is held, that it is. Nothing
  // checks it.
  void is_held() const ASSERTS_HELD() {}

 private:
  friend class ConditionVariable;
  std::mutex mutex_;
};

// Holds a mutex for as long as it lives, but for what lies between unlock() and lock().
class NBDSTACK_THREAD_SAFETY(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRES(mutex) : mutex_(mutex) { mutex_.lock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() RELEASES() {
    if (holds_) mutex_.unlock();
  }
  void lock() ACQUIRES() {
    mutex_.lock();
    holds_ = true;
  }
  void unlock() RELEASES() {
    holds_ = false;
    mutex_.unlock();
  }

 private:
  Mutex& mutex_;
  bool holds_ = true;
};

// Releases a held mutex for as long as this lives: it is held again afterwards, whatever is thrown.
class NBDSTACK_THREAD_SAFETY(scoped_lockable) MutexUnlock {
 public:
  explicit MutexUnlock(Mutex& mutex) RELEASES(mutex) : mutex_(mutex) { mutex_.unlock(); }
  MutexUnlock(const MutexUnlock&) = delete;
  MutexUnlock& operator=(const MutexUnlock&) = delete;
  ~MutexUnlock() RELEASES() { mutex_.lock(); }  // of the right to be without it

 private:
  Mutex& mutex_;
};

class ConditionVariable {
 public:
  // May return without reason, as std::condition_variable's: the caller waits in a loop.
  void wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    changed_.wait(lock);
    lock.release();  // the caller holds it on
  }
  // Waits until `end` at most. Returns false from then on.
  bool wait_until(Mutex& mutex, std::chrono::steady_clock::time_point end) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool is_early = changed_.wait_until(lock, end) == std::cv_status::no_timeout;
    lock.release();
    return is_early;
  }
  void notify_one() { changed_.notify_one(); }
  void notify_all() { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

}  // namespace nbdstack
