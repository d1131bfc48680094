// The time between a write-back and the flush that makes it durable, over a layer below that is not
// multi-conn: there a flush covers what went through its own connection only.
//
// A block counts as clean as soon as it is below. A client that flushes on another connection finds
// nothing to write, and must not be told that all is durable before the connection that the block
// went through has been flushed. So who writes back holds a Settlement until he has flushed, and a
// flush waits for those that began before it. It waits for older ones only, so two never wait for
// each other.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>

namespace nbdstack {

class Settlements {
 public:
  class Settlement {
   public:
    // Not `needed`: over a layer that is multi-conn there is nothing to wait for.
    Settlement(Settlements& all, bool needed) : all_(all), needed_(needed) {
      if (!needed_) return;
      const std::lock_guard lock(all_.mutex_);
      ticket_ = all_.next_++;
      all_.open_.insert(ticket_);
    }
    Settlement(const Settlement&) = delete;
    Settlement& operator=(const Settlement&) = delete;
    ~Settlement() {
      if (!needed_) return;
      const std::lock_guard lock(all_.mutex_);
      all_.open_.erase(ticket_);
      all_.settled_.notify_all();
    }
    void wait_for_earlier() const {
      if (!needed_) return;
      std::unique_lock lock(all_.mutex_);
      all_.settled_.wait(lock, [&] { return *all_.open_.begin() == ticket_; });
    }

   private:
    Settlements& all_;
    const bool needed_;
    std::uint64_t ticket_ = 0;
  };

 private:
  std::mutex mutex_;  // protects everything below
  std::condition_variable settled_;
  std::uint64_t next_ = 0;
  std::set<std::uint64_t> open_;
};

}  // namespace nbdstack
