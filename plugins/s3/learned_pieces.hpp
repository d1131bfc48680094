// Checksums of pieces of objects that carry none, because an older nbdstack stored them: made when such
// an object is read whole and verified, so that the next part of it can be verified by itself.
//
// They are remembered by the checksum of the whole, and so belong to that content, wherever it lies. The
// oldest are forgotten when there are too many. Any thread may call.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "plugins/s3/piece_checksums.hpp"

namespace nbdstack {

class LearnedPieces {
 public:
  // In memory 8 bytes each: those of 32 GiB in objects of 1 MiB.
  static constexpr std::size_t kPieces_max = std::size_t{512} << 10U;

  explicit LearnedPieces(std::size_t pieces_max = kPieces_max) : pieces_max_(pieces_max) {}

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
};

}  // namespace nbdstack
