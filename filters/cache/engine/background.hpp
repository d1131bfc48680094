// What nobody waits for: writing back what has been dirty for long, what a crash or an outage has
// left, and what was flushed to the durable store only; dropping what is too old to be trusted;
// committing the durable store from time to time.
//
// The owner's thread calls step() in time (serving/background_thread.hpp).
#pragma once

#include "common/block/layer.hpp"
#include "common/error.hpp"
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

  // Whether there is ever anything to do with these settings.
  [[nodiscard]] bool is_needed() const;
  // Does what is due at `now` and returns when to come back at the latest;
  // GuardedState::wake_background asks for it to come earlier. A failed write-back is logged, and
  // tried again after a growing delay.
  TimePoint step(Layer& below, TimePoint now);
  // Not before the pause after a failure is over. Until then only the part of a step that needs no
  // layer below is done.
  [[nodiscard]] bool may_work_below(TimePoint now) const;
  // The two parts of a step. The first may wait for a local disk: a caller that has to know something
  // of the layer below before it is written finds it out between the two.
  TimePoint step_here(TimePoint now);
  TimePoint step_below(Layer& below, TimePoint now);
  // Whether a step has anything to do with the layer below, now or later. (What waits for a client's
  // flush is no work of the background's.)
  [[nodiscard]] bool has_work_below() const;
  // The step cannot run, because the layer below could not be opened.
  TimePoint could_not_open(TimePoint now, const Error& error);

 private:
  void write_back_due(Layer& below, TimePoint now);
  void drop_expired() REQUIRES(state_.mutex);
  void failed(TimePoint now, const Error& error) REQUIRES(state_.mutex);

  GuardedState& state_;
  WriteBacks& write_backs_;
  RoomMaker& room_;
  Flushes& flushes_;
};

}  // namespace nbdstack
