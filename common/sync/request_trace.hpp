// Notes of what a client's request causes, made by the code that causes it, in whatever thread: a
// WorkerPool works under the trace of its caller. Code that does later what no request waits for
// (a thread of its own) has no trace.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/sync/mutex.hpp"

namespace nbdstack {

class RequestTrace {
 public:
  // Returns the trace under which this thread works; null if nobody wants notes.
  static RequestTrace* current() { return current_; }

  // Lets this thread work under a trace, or without one, for as long as this lives.
  class Scope {
   public:
    explicit Scope(RequestTrace* trace) : before_(std::exchange(current_, trace)) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { current_ = before_; }

   private:
    RequestTrace* const before_;
  };

  void note(std::string text) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    notes_.push_back(std::move(text));
  }
  // Returns the notes so far, in their order.
  [[nodiscard]] std::vector<std::string> notes() EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return notes_;
  }

 private:
  inline static thread_local RequestTrace* current_ = nullptr;

  Mutex mutex_;
  std::vector<std::string> notes_ GUARDED_BY(mutex_);
};

}  // namespace nbdstack
