#include "plugins/s3/store/unchanged_since.hpp"

#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {

UnchangedSince::UnchangedSince(ObjectStore& store, Seen lease, Seen record)
    : store_(store), seen_{std::move(lease), std::move(record)} {}

bool UnchangedSince::holds() {
  try {
    for (const Seen& each : seen_) {
      if (has_changed_) return false;
      const auto object = store_.look_up(each.key);
      if (object.has_value() && !each.etag.empty() && object->etag == each.etag) continue;
      if (!has_changed_.exchange(true)) {
        log::debug("{} has changed: somebody writes the volume, and holes are not known any more",
                   each.key);
      }
      return false;
    }
    return true;
  } catch (const Error& error) {
    log::debug("whether the volume has changed is not known: {}", error.what());
    return false;
  }
}

}  // namespace nbdstack
