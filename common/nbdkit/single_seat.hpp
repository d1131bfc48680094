// The seat of layers below that serve one connection at a time (nbdkit's thread model
// SERIALIZE_CONNECTIONS): it belongs to a client's connection or to one of our own. nbdkit admits
// one client after the other, and does not know our own connections.
//
//   state    a client comes      an own connection is needed   becomes free when
//   free     takes it            takes it
//   taken    waits until it is   is refused: the caller        all layers below are closed
//            free                retries later, or never
//
// Any thread may call.
#pragma once

#include <atomic>

namespace nbdstack {

class SingleSeat {
 public:
  // Returns whether it was free; the caller owns it then.
  bool try_take() { return !taken_.exchange(true); }
  void leave() { taken_ = false; }

 private:
  std::atomic<bool> taken_ = false;
};

}  // namespace nbdstack
