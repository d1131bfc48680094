// Where a layer below serves one connection at a time (nbdkit's thread model
// SERIALIZE_CONNECTIONS): whose connection it is, a client's or one of our own. nbdkit lets one
// client in after the other, and knows nothing of our own connections.
//
//   state    client comes         own is to be opened        leaves when
//   free     takes it             takes it
//   taken    waits until it is    is refused: the caller     all layers below are closed
//            free                 comes again, or does not
//
// Any thread.
#pragma once

#include <atomic>

namespace nbdstack {

class SingleSeat {
 public:
  // Returns whether it was free, and is the caller's now.
  bool try_take() { return !taken_.exchange(true); }
  void leave() { taken_ = false; }

 private:
  std::atomic<bool> taken_ = false;
};

}  // namespace nbdstack
