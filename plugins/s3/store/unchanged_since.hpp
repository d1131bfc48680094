// Whether anybody may have written a volume since it was looked at, for who has no right to write
// it: everybody who writes replaces one of two objects first, with what was never there before.
//
//   who writes                    replaces before the first change
//   owner of the lease            the lease
//   server with own=none          the record of blocks (block_memory.hpp)
//
// Programs that do neither are not noticed, as everywhere.
//
// Any thread.
#pragma once

#include <array>
#include <atomic>
#include <string>

#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

class UnchangedSince {
 public:
  // An object as it was when it was looked at.
  struct Seen {
    std::string key;
    std::string etag;
  };

  // `store` outlives this.
  UnchangedSince(ObjectStore& store, Seen lease, Seen record);

  // Asks the store, with two small requests: what was true then was true still after this was
  // called. False also where the store does not answer. Once something has changed it is false for
  // ever, without a request.
  [[nodiscard]] bool holds();

 private:
  ObjectStore& store_;
  const std::array<Seen, 2> seen_;
  std::atomic<bool> has_changed_{false};
};

}  // namespace nbdstack
