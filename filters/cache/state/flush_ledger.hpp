// Externally synchronized: what has gone below and is not durable there for certain, and what of it
// clients have to be told.
//
//  - Doubts: changes below that have failed. While no flush below has followed them all, what can be
//    read there may not be durable, so a durable store keeps nothing of it.
//  - Tickets: the time between a write-back and the flush that makes it durable, over a layer
//    below that is not multi-conn: there a flush covers what went through its own connection only.
//    A block counts as clean as soon as it is below. A client that flushes on another connection
//    finds nothing to write, and must not be told that all is durable before the connection that
//    the block went through has been flushed. So a write-back is open until it has been flushed, and
//    a flush waits for those that began before it. It waits for older ones only, so two never wait
//    for each other.
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
  // A flush below ends the doubts that there were when it began.
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
  // Whether everything that was opened before is closed. The ticket itself is open.
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
