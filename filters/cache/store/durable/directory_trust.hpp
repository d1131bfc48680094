// Decides whether the content of a cache directory is still true of the disk that is served.
//
// `found` is the identity in the directory, `told` the one that the layer below reports now:
//
//   the disk's id                                             trust
//   both have one, and they differ                            another disk's: refused
//   both have the same                                        by the terms, below
//   one of them or both have none                             its content is compared with the disk
//
//   the terms, of one disk                                    clean blocks     dirty blocks
//   told held; no other writer since found's term             see `alone`      good
//   told none; found's term is told's                         see `alone`      good
//   anything else: another writer since then, a term          worth nothing    a person decides
//     that is newer than the disk's, terms not counted
//
// `alone`: clean blocks are good if the server that stored them was the only writer, and worthless
// if others may have written while it read.
#pragma once

#include <cstdint>
#include <string>

#include "common/block/disk_identity.hpp"
#include "filters/cache/store/durable/cache_identity.hpp"

namespace nbdstack {

struct Trust {
  enum class Level : std::uint8_t {
    all,
    dirty,    // clean blocks are read again from below
    nothing,  // `because` is the reason
    compare,  // its content has to be compared with the disk's
    another_disk,
  };
  Level level = Level::all;
  std::string because;
};

// `told` is null if the layer below reports nothing. Its size is that of `found`, or has grown from
// it.
Trust trust_in(const CacheIdentity& found, const DiskIdentity* told);

}  // namespace nbdstack
