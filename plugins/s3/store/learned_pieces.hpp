// Checksums of pieces of objects that carry none, because an older nbdstack stored them. They are
// computed when such an object is read whole and verified, so that its next part is verified alone.
//
// The key is the checksum of the whole, so they belong to that content, wherever it is stored. The
// oldest are discarded when there are too many. May be used by any thread.
//
// If several threads need the same object whole at the same time, one reads it; the others wait
// until that has ended (Reading), and mostly find the checksums they need then.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "common/sync/mutex.hpp"
#include "plugins/s3/store/piece_checksums.hpp"

namespace nbdstack {

class LearnedPieces {
 public:
  // In memory 8 bytes each: those of 32 GiB in objects of 1 MiB.
  static constexpr std::size_t kPieces_max = std::size_t{512} << 10U;

  explicit LearnedPieces(std::size_t pieces_max = kPieces_max) : pieces_max_(pieces_max) {}

  // One thread's part in reading the object with the checksum `whole`. The constructor waits while
  // another thread reads it. A thread that has waited may read it too, if find() still returns
  // null: no thread waits for that one, so that a failing store makes none wait twice.
  class Reading {
   public:
    Reading(LearnedPieces& pieces, const std::string& whole)
        : pieces_(pieces), whole_(whole), is_first_(pieces.begin_reading(whole)) {}
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    ~Reading() {
      if (is_first_) pieces_.end_reading(whole_);
    }

   private:
    LearnedPieces& pieces_;
    const std::string whole_;
    const bool is_first_;
  };

  // The number of threads that wait in a Reading, for tests.
  [[nodiscard]] std::size_t waiting() const {
    const MutexLock lock(mutex_);
    return waiting_;
  }

  // `whole` is the checksum of the object, as its store has it. Returns null if nothing is known.
  [[nodiscard]] std::shared_ptr<const PieceChecksums> find(const std::string& whole) const {
    const MutexLock lock(mutex_);
    const auto found = known_.find(whole);
    return found == known_.end() ? nullptr : found->second;
  }

  void learn(const std::string& whole, PieceChecksums pieces) {
    const MutexLock lock(mutex_);
    const std::size_t count = pieces.count();
    const auto [place, is_new] =
        known_.try_emplace(whole, std::make_shared<const PieceChecksums>(std::move(pieces)));
    if (!is_new) return;
    count_ += count;
    order_.push_back(whole);
    while (count_ > pieces_max_) {
      const auto oldest = known_.find(order_.front());
      count_ -= oldest->second->count();
      known_.erase(oldest);
      order_.pop_front();
    }
  }

 private:
  // Returns whether no other thread reads the object. Otherwise waits until that has ended.
  bool begin_reading(const std::string& whole) {
    const MutexLock lock(mutex_);
    if (being_read_.insert(whole).second) return true;
    ++waiting_;
    while (being_read_.contains(whole)) has_read_.wait(mutex_);
    --waiting_;
    return false;
  }
  void end_reading(const std::string& whole) {
    const MutexLock lock(mutex_);
    being_read_.erase(whole);
    has_read_.notify_all();
  }

  const std::size_t pieces_max_;
  mutable Mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const PieceChecksums>> known_ GUARDED_BY(mutex_);
  std::deque<std::string> order_ GUARDED_BY(mutex_);  // in the order of learning
  std::size_t count_ GUARDED_BY(mutex_) = 0;          // of pieces
  std::set<std::string> being_read_ GUARDED_BY(mutex_);
  ConditionVariable has_read_;
  std::size_t waiting_ GUARDED_BY(mutex_) = 0;
};

}  // namespace nbdstack
