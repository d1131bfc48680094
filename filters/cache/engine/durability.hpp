// FUA over a layer that may not have it.
#pragma once

#include "common/block/layer.hpp"

namespace nbdstack {

// FUA as far as the layer below has it; what it lacks, a flush has to do.
inline Durability supported(Durability wanted, const Layer& below) {
  return below.traits().fua == Support::none ? Durability::on_flush : wanted;
}

// To be called after the change that was sent with supported().
inline void complete_durability(Layer& below, Durability wanted) {
  const bool flush_needed = wanted == Durability::fua && below.traits().fua == Support::none;
  if (flush_needed && below.traits().can_flush) below.flush();
}

}  // namespace nbdstack
