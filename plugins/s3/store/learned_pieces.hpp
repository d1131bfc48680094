// Checksums of pieces of objects that carry none, because an older nbdstack stored them: made when such
// an object is read whole and verified, so that the next part of it can be verified by itself.
//
// They are remembered by the checksum of the whole, and so belong to that content, wherever it lies. The
// oldest are forgotten when there are too many. Any thread may call.
//
// Of those who would all read the same object whole at the same time, one does; the others wait until
// it has ended (Reading), and mostly find what they need then.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>

#include "plugins/s3/store/piece_checksums.hpp"

namespace nbdstack {

class LearnedPieces {
 public:
  // In memory 8 bytes each: those of 32 GiB in objects of 1 MiB.
  static constexpr std::size_t kPieces_max = std::size_t{512} << 10U;

  explicit LearnedPieces(std::size_t pieces_max = kPieces_max) : pieces_max_(pieces_max) {}

  // One thread's part in reading the object with the checksum `whole`. The constructor waits as long as
  // another thread reads it. Whoever has waited may read it too, after another look at find(): then
  // nobody waits for that thread, so that a store that fails makes nobody wait twice.
  class Reading {
   public:
    Reading(LearnedPieces& pieces, const std::string& whole) : pieces_(pieces), whole_(whole) {
      std::unique_lock lock(pieces_.mutex_);
      is_first_ = pieces_.being_read_.insert(whole_).second;
      if (is_first_) return;
      ++pieces_.waiting_;
      pieces_.has_read_.wait(lock, [&] { return !pieces_.being_read_.contains(whole_); });
      --pieces_.waiting_;
    }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    ~Reading() {
      if (!is_first_) return;
      const std::lock_guard lock(pieces_.mutex_);
      pieces_.being_read_.erase(whole_);
      pieces_.has_read_.notify_all();
    }

   private:
    LearnedPieces& pieces_;
    const std::string whole_;
    bool is_first_ = false;
  };

  // Threads that wait in a Reading: lets a test know that they do.
  [[nodiscard]] std::size_t waiting() const {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }

  // `whole`: the checksum of the object, as its store has it. Null: not known.
  [[nodiscard]] std::shared_ptr<const PieceChecksums> find(const std::string& whole) const {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(whole);
    return found == known_.end() ? nullptr : found->second;
  }

  void learn(const std::string& whole, PieceChecksums pieces) {
    const std::lock_guard lock(mutex_);
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
  const std::size_t pieces_max_;
  mutable std::mutex mutex_;  // protects what follows
  std::unordered_map<std::string, std::shared_ptr<const PieceChecksums>> known_;
  std::deque<std::string> order_;  // as they were learned
  std::size_t count_ = 0;          // of pieces
  std::set<std::string> being_read_;
  std::condition_variable has_read_;
  std::size_t waiting_ = 0;
};

}  // namespace nbdstack
