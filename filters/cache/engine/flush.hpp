// Flushes: makes durable what clients wrote.
#pragma once

#include <atomic>
#include <functional>

#include "common/block/layer.hpp"
#include "filters/cache/engine/guarded_state.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {

class Flushes {
 public:
  Flushes(GuardedState& state, WriteBacks& write_backs)
      : state_(state), write_backs_(write_backs) {}

  void flush(Layer& below);
  // FUA for bytes that have been written to the cache.
  void make_durable(Layer& below, const Range& range);
  // Writes unflushed content below, or into the durable store.
  void last_client_left(Layer& below);
  // Writes back everything dirty, whatever the mode.
  void write_back_all(Layer& below);
  // Flushes the layer below, if it can, whatever the cache itself has to do.
  void flush_below(Layer& below);

 private:
  // With FlushTo::local a commit is a flush. Returns false if the layer below must be flushed.
  bool flushed_here();
  // Throws the background's failure, once, if `make_durable` itself succeeds.
  void with_report(const std::function<void()>& make_durable);

  GuardedState& state_;
  WriteBacks& write_backs_;
  std::atomic<bool> directory_is_gone_ = false;  // and that has been logged
};

}  // namespace nbdstack
