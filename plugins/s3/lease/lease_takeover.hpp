// Decides whether an existing lease may be taken: a starting server reads it repeatedly, and each
// read gives a verdict.
//
//   the record that was read                                 verdict
//   no record                                                take
//   a released one                                           take
//   our own: an earlier put whose answer was lost or late    take
//   one that this program does not understand                refuse
//   held, by a process of this machine that has ended        take
//   held, and changed since the last read                    refuse: its owner is alive
//   held, the same in all reads since expiry                 take
//   held, otherwise                                          wait
//
// (Expiry is defined in lease_timing.hpp, with the duration in the record itself, by this machine's
// clock. The store's time of the record does not matter: it comes from another host, and clocks
// that differ by a minute would give the volume two writers.) So a live owner is noticed at its
// next renewal, and the wait for a dead one on another machine is one lease duration. "Take"
// replaces exactly the record that was read: of two servers with this verdict, one wins.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "common/sync/clock.hpp"
#include "plugins/s3/lease/lease_object.hpp"
#include "plugins/s3/lease/process_identity.hpp"

namespace nbdstack {

enum class TakeoverVerdict : std::uint8_t { take, wait, refuse };

struct Takeover {
  TakeoverVerdict verdict = TakeoverVerdict::take;
  std::string reason{};  // in words; empty if there is nothing to report
  Duration longest_wait{};
};

class TakeoverWatch {
 public:
  // `own_id` is the owner in the watcher's own record. `processes` outlives this.
  TakeoverWatch(const Processes& processes, std::string own_id)
      : processes_(processes), own_id_(std::move(own_id)) {}

  // `answered_at` is the time of the store's answer, by a clock that counts suspend.
  [[nodiscard]] Takeover judge(const std::optional<SeenLease>& seen, TimePoint answered_at);

 private:
  [[nodiscard]] Takeover judge_held(const LeaseRecord& record, bool is_same,
                                    TimePoint answered_at) const;

  const Processes& processes_;
  const std::string own_id_;
  bool has_looked_ = false;
  std::string last_text_;  // of the last read; empty if there was no record
  TimePoint same_since_;   // when last_text_ was first seen
};

}  // namespace nbdstack
