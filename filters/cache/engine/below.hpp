// Calls the layer below, as many times at once as it allows, and as durably as requested.
#pragma once

#include <cstddef>
#include <functional>

#include "common/block/layer.hpp"
#include "common/sync/worker_pool.hpp"

namespace nbdstack {

inline Durability supported(Durability wanted, const Layer& below) {
  return below.traits().fua == Support::none ? Durability::on_flush : wanted;
}

// If the layer below does not support FUA, a flush replaces it.
inline void complete_durability(Layer& below, Durability wanted) {
  const bool flush_needed = wanted == Durability::fua && below.traits().fua == Support::none;
  if (flush_needed && below.traits().can_flush) below.flush();
}

inline void run_in_parallel(const Layer& below, WorkerPool& threads, std::size_t count,
                            const std::function<void(std::size_t)>& body) {
  if (below.traits().parallel) {
    threads.run(count, body);
  } else {
    WorkerPool(0).run(count, body);
  }
}

}  // namespace nbdstack
