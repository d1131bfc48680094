// Does the work that no request waits for: writes back blocks that have been dirty for long, the
// remains of a crash or an outage, and blocks flushed only to the durable store; drops blocks that
// are too old to be trusted; commits the durable store from time to time.
//
// The owner's thread calls step() in time (serving/background_thread.hpp).
#pragma once

#include "common/block/layer.hpp"
#include "common/error.hpp"
#include "common/fault/fault.hpp"
#include "common/sync/clock.hpp"
#include "filters/cache/engine/flush.hpp"
#include "filters/cache/engine/guarded_state.hpp"
#include "filters/cache/engine/make_room.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {

class Background {
 public:
  Background(GuardedState& state, WriteBacks& write_backs, RoomMaker& room, Flushes& flushes)
      : state_(state), write_backs_(write_backs), room_(room), flushes_(flushes) {}

  // Returns whether these settings ever give it work.
  [[nodiscard]] bool is_needed() const;
  // Does what is due at `now` and returns the latest time of the next step;
  // GuardedState::wake_background requests an earlier one. A failed write-back is
  // retried after a growing delay; the log tells the first failure, and that one succeeds again.
  TimePoint step(Layer& below, TimePoint now);
  // Returns false during the pause after a failure. Until it ends, a step does only the part that
  // needs no layer below.
  [[nodiscard]] bool may_work_below(TimePoint now) const;
  // The two parts of a step. The first may wait for a local disk, so a caller that has to check the
  // layer below before it is written checks between the two.
  TimePoint step_here(TimePoint now);
  TimePoint step_below(Layer& below, TimePoint now);
  // Returns whether a step has work on the layer below, now or later. (Blocks that wait for a
  // client's flush are not the background's work.)
  [[nodiscard]] bool has_work_below() const;
  // Called if the step cannot run, because the layer below could not be opened.
  TimePoint could_not_open(TimePoint now, const Error& error);

 private:
  void write_back_due(Layer& below, TimePoint now);
  void drop_expired() REQUIRES(state_.mutex);
  void failed(TimePoint now, const Error& error) REQUIRES(state_.mutex);

  GuardedState& state_;
  WriteBacks& write_backs_;
  RoomMaker& room_;
  Flushes& flushes_;
  Fault fault_{"write-backs in the background", Duration::zero()};
};

}  // namespace nbdstack
