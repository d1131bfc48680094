// Mistakes that clang's thread-safety analysis has to find (thread_safety.py): without them in its
// answer, its silence about everything else would say nothing. No target compiles this file.
#include "common/sync/mutex.hpp"

namespace nbdstack {

class Account {
 public:
  void right() {
    MutexLock lock(mutex_);
    add(1);
    while (sum_ == 0) changed_.wait(mutex_);
    lock.unlock();
    lock.lock();
    ++sum_;
  }
  void unguarded() {
    ++sum_;  // expected-error {{writing variable 'sum_' requires holding mutex 'mutex_'}}
  }
  void called_without() {
    add(1);  // expected-error {{calling function 'add' requires holding mutex 'mutex_'}}
  }
  void given_away() {
    MutexLock lock(mutex_);
    lock.unlock();
    ++sum_;  // expected-error {{writing variable 'sum_' requires holding mutex 'mutex_'}}
  }
  void waits_without() {
    changed_.wait(mutex_);  // expected-error {{'wait' requires holding mutex 'mutex_'}}
  }
  void twice() {
    const MutexLock lock(mutex_);
    excluded();  // expected-error {{cannot call function 'excluded' while mutex 'mutex_' is held}}
  }
  void another() {
    const MutexLock lock(other_);
    ++sum_;  // expected-error {{writing variable 'sum_' requires holding mutex 'mutex_'}}
  }

 private:
  void add(int amount) REQUIRES(mutex_) {
    const MutexUnlock unlocked(mutex_);
    sum_ += amount;  // expected-error {{writing variable 'sum_' requires holding mutex 'mutex_'}}
  }
  void excluded() EXCLUDES(mutex_) {}

  Mutex mutex_;
  Mutex other_;
  ConditionVariable changed_;
  int sum_ GUARDED_BY(mutex_) = 0;
};

}  // namespace nbdstack
