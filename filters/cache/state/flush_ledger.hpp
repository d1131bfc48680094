// Externally synchronized: changes below that may not be durable there, and failures that clients
// have not been told.
//
//  - Doubts: changes below that have failed. Until a flush below has followed all of them, content
//    read there may not be durable, so a durable store keeps none of it.
//  - Tickets: the time between a write-back and the flush that makes it durable, over a layer below
//    that is not multi-conn: there a flush covers only what its own connection wrote. A block is
//    clean as soon as it is below. A client that flushes on another connection finds nothing to
//    write, but must not succeed before the connection that wrote the block has been flushed. So a
//    write-back is open until it has been flushed, and a flush waits for those that began before
//    it. It waits only for older ones, so two never wait for each other.
//  - A failure that no client's request has met: the next flush reports it, once.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "common/error.hpp"
#include "common/invariant.hpp"

namespace nbdstack {

class FlushLedger {
 public:
  using Ticket = std::uint64_t;

  void doubt() { ++doubts_; }
  [[nodiscard]] bool is_in_doubt() const { return doubts_ != flushed_doubts_; }
  // A flush below ends those doubts that existed when it began.
  [[nodiscard]] std::uint64_t doubts() const { return doubts_; }
  void flushed(std::uint64_t doubts_before) {
    INVARIANT(doubts_before <= doubts_, doubts_before, doubts_);
    flushed_doubts_ = doubts_before;
  }

  [[nodiscard]] Ticket open() { return *open_.insert(next_++).first; }
  void close(Ticket ticket) {
    const bool was_open = open_.erase(ticket) == 1;
    INVARIANT(was_open, ticket);
  }
  // Returns whether everything opened before is closed. The ticket itself is open.
  [[nodiscard]] bool is_oldest(Ticket ticket) const { return *open_.begin() == ticket; }

  void remember_failure(const Error& failure) { unreported_ = failure; }
  void forget_failure() { unreported_.reset(); }
  [[nodiscard]] std::optional<Error> take_failure() {
    return std::exchange(unreported_, std::nullopt);
  }

 private:
  std::uint64_t doubts_ = 0;
  std::uint64_t flushed_doubts_ = 0;
  Ticket next_ = 0;
  std::set<Ticket> open_;
  std::optional<Error> unreported_;
};

}  // namespace nbdstack
