#include "plugins/s3/volume/volume_identity.hpp"

#include <fmt/core.h>

#include <span>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "common/log.hpp"
#include "plugins/s3/lease/lease_object.hpp"

namespace nbdstack {

DiskIdentity identity_of_volume(const VolumeLayout& layout, const std::string& store_place,
                                const std::optional<LeaseTerm>& term) {
  DiskIdentity identity{.id = {}, .size_bytes = layout.size_bytes, .term = {}};
  if (!layout.id.empty()) {
    identity.id = "s3-" + layout.id;
  } else {
    const std::string place = store_place + "\n" + layout.place;
    identity.id = "s3-at-" + to_hex(xxh3_128(std::as_bytes(std::span(place))));
  }
  if (term.has_value()) {
    identity.term = {.term = term->number, .since = term->changed_in, .unchanged = term->unchanged};
  }
  return identity;
}

std::optional<SeenLease> look_up_lease(ObjectStore& store, const std::string& key) {
  try {
    return LeaseObject(store, lease_object_key(key), {}).read();
  } catch (const Error& error) {
    log::debug("the volume's lease cannot be read, and its term is not known: {}", error.what());
    return std::nullopt;
  }
}

std::optional<LeaseTerm> term_of(const std::optional<SeenLease>& seen) {
  if (!seen.has_value() || !seen->record.has_value() || !seen->record->term.has_value()) {
    return std::nullopt;
  }
  LeaseTerm term = *seen->record->term;
  if (seen->record->state != LeaseRecord::State::released) term.note_change();
  return term;
}

RememberedVolume remembered(const VolumeLayout& layout) {
  return {.place = layout.place,
          .key = layout.key,
          .id = layout.id,
          .block_count = BlockGeometry(layout.size_bytes, layout.object_size).block_count()};
}

}  // namespace nbdstack
