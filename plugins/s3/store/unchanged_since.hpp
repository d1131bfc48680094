// Finds out for a reader whether a volume may have been written since it was queried: every writer
// first replaces one of two objects by one that never existed before.
//
//   writer                        replaces before its first change
//   owner of the lease            the lease
//   server with own=none          the record of blocks (block_memory.hpp)
//
// Writers that do neither are not detected, as everywhere.
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
  // An object at the time of the query.
  struct Seen {
    std::string key;
    std::string etag;
  };

  // `store` outlives this.
  UnchangedSince(ObjectStore& store, Seen lease, Seen record);

  // Queries the store, with two small requests. If this returns true, the earlier state was still
  // true when this was called. Returns false also if the store does not answer. After a change it
  // returns false for ever, without a request.
  [[nodiscard]] bool holds();

 private:
  ObjectStore& store_;
  const std::array<Seen, 2> seen_;
  std::atomic<bool> has_changed_{false};
};

}  // namespace nbdstack
